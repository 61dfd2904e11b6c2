# frozen_string_literal: true

require "etc"
require_relative "deadline"

# The CPU time and descriptors of a process, as the kernel counts them. Linux only.
module ProcessCost
  TICKS = Etc.sysconf(Etc::SC_CLK_TCK).to_f

  class << self
    def available? = File.exist?("/proc/self/stat")

    # Seconds of CPU time of all threads since the start of the process.
    def cpu_time(pid)
      # The program's name, in parentheses, may contain spaces. The third field follows it.
      fields = File.read("/proc/#{pid}/stat").rpartition(") ").last.split
      (Integer(fields[11]) + Integer(fields[12])) / TICKS
    end

    # The CPU time that the process uses, as a share of what a busy thread of this process gets meanwhile. It is almost 0 for a process
    # that waits, and about 1 for one that spins, even on a busy machine. Takes Deadline::PATIENCE at most.
    def cpu_share(pid, busy: 0.5)
      deadline = Deadline.in
      own, before = own_cpu_time, cpu_time(pid)
      nil until own_cpu_time - own > busy || deadline.passed?
      (cpu_time(pid) - before) / (own_cpu_time - own)
    end

    # How often the threads of this name have waited, and so were switched to another one.
    def waits(pid, name)
      tasks = Dir["/proc/#{pid}/task/*"].select { |task| File.read("#{task}/comm").chomp == name }
      tasks.sum { |task| Integer(File.read("#{task}/status")[/^voluntary_ctxt_switches:\s+(\d+)/, 1]) }
    end

    # Open descriptors: number => target. Empty without /proc.
    def descriptors(pid)
      return {} unless available?

      Dir.children("/proc/#{pid}/fd").to_h do |number|
        [Integer(number), File.readlink("/proc/#{pid}/fd/#{number}")]
      rescue Errno::ENOENT
        [Integer(number), "closed meanwhile"]
      end
    end

    private

    # Of the current thread, in seconds.
    def own_cpu_time = Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID)
  end
end
