# frozen_string_literal: true

require "etc"
require_relative "../errors"
require_relative "../log"

module PushServer
  # The file that has the server's pid while it serves. One thread at a time.
  class Pidfile
    # Seconds by which the clocks of processes and files may differ.
    TOLERANCE = 5
    private_constant :TOLERANCE

    # Whether a process runs. One that has ended, but whose parent has not asked for its status, does not.
    # @param pid [Integer]
    def self.alive?(pid)
      Process.kill(0, pid)
      !File.read("/proc/#{pid}/stat").match?(/\) [ZX] /)
    rescue Errno::ESRCH, RangeError
      false
    rescue Errno::ENOENT
      # The system has no /proc, or the process has just ended.
      !File.exist?("/proc/#{Process.pid}")
    rescue Errno::EPERM
      true # It belongs to another user.
    end

    # @return [String]
    attr_reader :path

    # @param path [String]
    def initialize(path)
      @path = path
    end

    # Makes sure that the file belongs to no other process that runs.
    # @param owner [Integer] the process that may have it
    # @raise [Error]
    def check(owner = Process.pid)
      other = pid
      return if other.nil? || other == owner

      raise Error, "the pidfile #{path} names process #{other}, which runs: stop it, or give this server another pidfile"
    end

    # Writes the pid of this process. A file of a process that has ended is replaced.
    # @raise [Error] if another server runs, or if the file cannot be written
    def write
      check
      File.write("#{path}.#{Process.pid}", "#{Process.pid}\n")
      # A reader sees the whole file, or none.
      File.rename("#{path}.#{Process.pid}", path)
    rescue SystemCallError => e
      discard("#{path}.#{Process.pid}")
      raise unwritable(e)
    end

    # Makes sure that another process can {#write} the file, and leaves it as it is.
    # @param owner [Integer] that process
    # @raise [Error]
    def rehearse(owner)
      check(owner)
      raise Errno::EISDIR if File.directory?(path)

      File.write("#{path}.#{Process.pid}", "")
    rescue SystemCallError => e
      raise unwritable(e)
    ensure
      discard("#{path}.#{Process.pid}")
    end

    # Removes the file, unless another process has written it meanwhile.
    def remove
      File.unlink(path) if content == Process.pid
    rescue SystemCallError => e
      PushServer.log(:warn, "cannot remove the pidfile: #{e.message}")
    end

    # @return [Integer, nil] the pid of the process that has written the file; nil if there is no file, or if that process has
    #   ended, even if the system has given its pid to another one
    def pid
      number = content
      number if number&.positive? && Pidfile.alive?(number) && !reused?(number)
    end

    private

    def content
      Integer(File.read(path).strip, 10, exception: false)
    rescue SystemCallError
      nil # There is none, or writing will tell why it cannot be used.
    end

    def unwritable(error) = Error.new("cannot write the pidfile #{path}: #{error.message.sub(/ @ .*/, "")}")

    def discard(file)
      File.unlink(file)
    rescue SystemCallError
      nil
    end

    # Whether the process has started after the file was written. Only Linux tells.
    def reused?(number)
      ticks = File.read("/proc/#{number}/stat")[/.*\)(?: \S+){19} (\d+)/, 1].to_i
      boot = File.read("/proc/stat")[/^btime (\d+)/, 1].to_i
      started = boot + (ticks / Etc.sysconf(Etc::SC_CLK_TCK).to_f)
      started > File.mtime(path).to_f + TOLERANCE
    rescue SystemCallError
      false
    end
  end
end
