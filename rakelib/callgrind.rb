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
  private_constant :CACHES, :REQUESTS, :ALLOCATORS, :EVENTS

  module_function

  def installed? = !system("valgrind", "--version", out: File::NULL).nil?

  # Runs a command to its end.
  # @return [Hash{String => Integer}] a figure for each of FIGURES
  # @raise [RuntimeError] if the command fails
  def run(*command, chdir:)
    Tempfile.create("callgrind") do |file|
      options = ["--tool=callgrind", "--callgrind-out-file=#{file.path}", *CACHES]
      text, status = Open3.capture2e("valgrind", *options, *command, chdir: chdir)
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

  # Reads from the lines of callgrind's file how often memory was requested, and what the allocator has cost. A function's
  # name is written once, together with a number that stands for the function afterwards. "calls=" belongs to the function that
  # the last "cfn=" has named; the next line has what these calls have cost, with all that the function has called. An
  # allocator that calls another one is counted once.
  # @return [Hash{String => Integer}] a figure for each of FIGURES
  def allocation(lines)
    names = {}
    events = within = called = nil
    calls = 0
    sum = FIGURES.to_h { |name| [name, 0] }
    lines.each do |line|
      case line
      when /\Aevents: (.*)/ then events = $1.split
      when /\A(c?)fn=\((\d+)\)(?: (\S+))?/
        names[$2] = $3 if $3
        $1.empty? ? within = names[$2] : called = names[$2]
      when /\Acalls=(\d+)/ then calls = $1.to_i
      else
        if calls.positive? && ALLOCATORS.include?(called) && !ALLOCATORS.include?(within)
          # The first number is that of the line.
          figures(events, line.split.drop(1)).each { |name, cost| sum[name] += cost }
          sum["mallocs"] += calls if REQUESTS.include?(called)
        end
        calls = 0
      end
    end
    sum
  end

  # Events that are left out at the end did not happen.
  def figures(names, counts)
    events = names.zip(counts.map(&:to_i)).to_h { |name, count| [name, count || 0] }
    EVENTS.transform_values { |parts| events.values_at(*parts).sum }
  end
end
