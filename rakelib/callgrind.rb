# frozen_string_literal: true

require "open3"
require "tempfile"

# Runs a program under valgrind's callgrind and reads what it counted.
#
# The simulated caches have fixed sizes, so that two machines count the same: 32 KiB for instructions, 32 KiB for data,
# and a last level of 512 KiB. A program whose hot path fits into a large cache is fast only on a CPU that has one.
module Callgrind
  CACHES = %w[--cache-sim=yes --I1=32768,8,64 --D1=32768,8,64 --LL=524288,16,64].freeze
  # Calls of these functions are counted as "mallocs": each is one request for memory.
  ALLOCATORS = %w[malloc calloc realloc posix_memalign aligned_alloc].freeze
  # Callgrind's names of the events that make up each figure.
  EVENTS = { "instructions" => %w[Ir], "L1i misses" => %w[I1mr], "L1d misses" => %w[D1mr D1mw],
             "LL misses" => %w[ILmr DLmr DLmw] }.freeze
  FIGURES = [*EVENTS.keys, "mallocs"].freeze
  private_constant :CACHES, :ALLOCATORS, :EVENTS

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

      totals(text).merge("mallocs" => mallocs(File.foreach(file.path)))
    end
  end

  # Reads what callgrind prints at its end: the names of its events, and how often each happened.
  # @return [Hash{String => Integer}]
  def totals(text)
    names, counts = %w[Events Collected].map { |line| text[/#{line}\s*: (.*)/, 1]&.split }
    raise "callgrind counted nothing:\n#{text}" unless names && counts

    events = names.zip(counts.map(&:to_i)).to_h
    EVENTS.transform_values { |parts| events.values_at(*parts).sum }
  end

  # How often memory was requested, by the lines of callgrind's file. A function's name is written once, together with a
  # number that stands for the function afterwards; "calls=" belongs to the function that the last "cfn=" has named.
  # @return [Integer]
  def mallocs(lines)
    allocators = {}
    called = nil
    lines.sum do |line|
      case line
      when /\Ac?fn=\((\d+)\)(?: (\S+))?/
        allocators[$1] = true if ALLOCATORS.include?($2)
        called = $1
        0
      when /\Acalls=(\d+)/ then allocators[called] ? $1.to_i : 0
      else 0
      end
    end
  end
end
