# frozen_string_literal: true

require "open3"
require "tempfile"

# Runs a program under valgrind's callgrind and reads what it counted.
#
# The simulated caches have fixed sizes, so that two machines count the same: 32 KiB for instructions, 32 KiB for data,
# and a last level of 512 KiB. A program whose hot path fits into a large cache is fast only on a CPU that has one.
#
# What the allocator itself does is left out: whether malloc finds a piece at once or tidies up first depends on all that the
# program has requested before, so a change anywhere moves it. How often memory is requested is counted instead.
module Callgrind
  CACHES = %w[--cache-sim=yes --I1=32768,8,64 --D1=32768,8,64 --LL=524288,16,64].freeze
  # Calls of these functions are counted as "mallocs": each is one request for memory.
  REQUESTS = %w[malloc calloc realloc posix_memalign aligned_alloc].freeze
  # What these functions cost is left out.
  ALLOCATORS = [*REQUESTS, "free"].freeze
  # Callgrind's names of the events that make up each figure.
  EVENTS = { "instructions" => %w[Ir], "L1i misses" => %w[I1mr], "L1d misses" => %w[D1mr D1mw],
             "LL misses" => %w[ILmr DLmr DLmw] }.freeze
  FIGURES = [*EVENTS.keys, "mallocs"].freeze
  # Calls of one function by another: the caller's object (the path of a library or program) and name, the called function's
  # name, how many, and what they have cost.
  Call = Struct.new(:object, :within, :called, :times, :costs)
  private_constant :REQUESTS, :ALLOCATORS, :EVENTS, :Call

  module_function

  def installed? = !system("valgrind", "--version", out: File::NULL).nil?

  # @param path [String] callgrind's file
  # @return [Array<String>] the words before a command that run it under callgrind
  def valgrind(path) = ["valgrind", "--tool=callgrind", "--callgrind-out-file=#{path}", *CACHES]

  # Runs a command to its end.
  # @return [Hash{String => Integer}] a figure for each of FIGURES
  # @raise [RuntimeError] if the command fails
  def run(*command, chdir:)
    Tempfile.create("callgrind") do |file|
      text, status = Open3.capture2e(*valgrind(file.path), *command, chdir: chdir)
      raise "#{command.join(" ")} failed under callgrind:\n#{text}" unless status.success?

      allocator = allocation(File.foreach(file.path))
      totals(text).to_h { |name, total| [name, total - allocator.fetch(name)] }.merge("mallocs" => allocator.fetch("mallocs"))
    end
  end

  # Reads what callgrind prints at its end: the names of its events, and how often each happened.
  # @return [Hash{String => Integer}]
  def totals(text)
    names, counts = %w[Events Collected].map { |line| text[/#{line}\s*: (.*)/, 1]&.split }
    raise "callgrind counted nothing:\n#{text}" unless names && counts

    figures(names, counts)
  end

  # Reads from the lines of callgrind's file how often memory was requested, and what the allocator has cost. An allocator
  # that calls another one is counted once.
  # @return [Hash{String => Integer}] a figure for each of FIGURES
  def allocation(lines)
    sum = FIGURES.to_h { |name| [name, 0] }
    each_call(lines) do |call|
      next unless ALLOCATORS.include?(call.called) && !ALLOCATORS.include?(call.within)

      call.costs.each { |name, cost| sum[name] += cost }
      sum["mallocs"] += call.times if REQUESTS.include?(call.called)
    end
    sum
  end

  # Reads from the lines of a file that callgrind has dumped what all of the process has cost, the allocator included, and how
  # often each library or program has requested memory.
  # @return [Array(Hash{String => Integer}, Hash{String => Integer})] figures by name; requests by the file's path
  def dumped(lines)
    lines = lines.to_a
    shapes = [/\Aevents: (.*)/, /\A(?:totals|summary): (.*)/]
    names, counts = shapes.map { |shape| lines.filter_map { |line| line[shape, 1] }.last&.split }
    raise "callgrind counted nothing" unless names && counts

    requests = Hash.new(0)
    each_call(lines) do |call|
      requests[call.object] += call.times if REQUESTS.include?(call.called) && !ALLOCATORS.include?(call.within)
    end
    [figures(names, counts).merge("mallocs" => requests.values.sum), requests]
  end

  # Reads the calls from the lines of callgrind's file. The name of a function, or of the object it is in, is written once,
  # together with a number that stands for the name afterwards. "calls=" belongs to the function that the last "cfn=" has
  # named; the next line has what these calls have cost, with all that the function has called.
  def each_call(lines)
    names = { "ob" => {}, "fn" => {} }
    now = {}
    events = nil
    count = 0
    lines.each do |line|
      case line
      when /\Aevents: (.*)/ then events = $1.split
      when /\A(c?)(ob|fn)=\((\d+)\)(?: (\S+))?/
        names[$2][$3] = $4 if $4
        now["#{$1}#{$2}"] = names[$2][$3]
      when /\Acalls=(\d+)/ then count = $1.to_i
      else
        # The first number is that of the line.
        yield Call.new(*now.values_at("ob", "fn", "cfn"), count, figures(events, line.split.drop(1))) if count.positive?
        count = 0
      end
    end
  end

  # Events that are left out at the end did not happen.
  def figures(names, counts)
    events = names.zip(counts.map(&:to_i)).to_h { |name, count| [name, count || 0] }
    EVENTS.transform_values { |parts| events.values_at(*parts).sum }
  end
end
