# frozen_string_literal: true

require "json"
require "open3"
require "rbconfig"
require_relative "callgrind"

# What the hot paths cost, in figures that do not depend on other programs on the machine or on the CPU's clock rate:
# instructions, misses in simulated caches, and requests for memory. The paths of the core are in
# bench/instructions/main.rs, those of the whole server, with Ruby, in bench/instructions/server.rb.
module Instructions
  ROOT = File.expand_path("..", __dir__)
  FILE = File.join(ROOT, "bench/instructions.json")
  SERVER = File.join(ROOT, "bench/instructions/server.rb")
  # How much more than recorded each figure may be: the share, and what is added to it. Misses depend on where the linker puts
  # functions and the allocator puts memory: the same code, built in two folders, had 68 and 78 misses in L1d for a request, and
  # 5 and 10 in L1i for an echo.
  TOLERANCES = { "instructions" => [0.05, 0], "L1i misses" => [0.10, 6], "L1d misses" => [0.20, 3], "LL misses" => [0.10, 2],
                 "mallocs" => [0.01, 0.05] }.freeze
  # For paths with Ruby. There, two threads share the work, and not in the same way each time: between two counts,
  # instructions differed by up to 8 %, L1i misses by 10 % and mallocs by 2 %.
  RUBY_TOLERANCES = { "instructions" => [0.20, 0], "L1i misses" => [0.25, 40], "L1d misses" => [0.25, 40],
                      "LL misses" => [0.25, 40], "mallocs" => [0.06, 0.1] }.freeze
  # A path is run once, and then this many times more: the difference is its cost.
  TIMES = 10
  HOW_TO_RECORD = "To record these: rake instructions:record"

  # The recorded figures beside those that were counted now, by path and name. `recorded_with` and `counted_with` are the
  # tools, since another version of the compiler or the C library gives other figures.
  Comparison = Struct.new(:recorded, :counted, :recorded_with, :counted_with, keyword_init: true) do
    # A row for each path, with each figure and its distance from the recorded one.
    def table
      rows = counted.map { |path, figures| [path, *Callgrind::FIGURES.map { |name| cell(path, name, figures[name]) }] }
      rows.unshift(["per operation", *Callgrind::FIGURES])
      widths = rows.transpose.map { |column| column.map(&:length).max }
      rows.map { |path, *cells| [path.ljust(widths[0]), *cells.zip(widths[1..]).map { |it, width| it.rjust(width) }].join("  ") }
    end

    def failed? = comparable? && (dearer.any? || missing.any?)

    # One line.
    def verdict
      if recorded.empty?
        "Nothing is recorded. #{HOW_TO_RECORD}"
      elsif !comparable?
        "Not judged: recorded with #{recorded_with.values.join(", ")}; this is #{counted_with.values.join(", ")}. " \
          "#{HOW_TO_RECORD}"
      elsif missing.any?
        "Recorded and counted paths differ: #{missing.join(", ")}. #{HOW_TO_RECORD}"
      elsif dearer.any?
        "More expensive than recorded: #{named(dearer)}. If this is intended: rake instructions:record"
      elsif cheaper.any?
        "Cheaper than recorded: #{named(cheaper)}. To keep it so: rake instructions:record"
      else
        "No figure differs from the recorded one by more than is allowed."
      end
    end

    private

    def comparable? = recorded_with == counted_with
    def missing = (recorded.keys | counted.keys) - (recorded.keys & counted.keys)
    def dearer = figures.select { |path, name| beyond?(path, name, 1) }
    # Only instructions and mallocs: misses also depend on where the linker puts functions.
    def cheaper = figures.select { |path, name| !name.end_with?("misses") && beyond?(path, name, -1) }
    def figures = (counted.keys & recorded.keys).product(Callgrind::FIGURES)
    def named(figures) = figures.map { |path, name| "#{path}, #{name} (#{percent(path, name)})" }.join("; ")

    def beyond?(path, name, direction)
      before, now = recorded.dig(path, name), counted.dig(path, name)
      share, slack = (path.start_with?("Ruby: ") ? RUBY_TOLERANCES : TOLERANCES).fetch(name)
      before && (now - before) * direction > before * share + slack
    end

    def cell(path, name, figure)
      [group(figure), percent(path, name)&.then { |difference| "(#{difference})" }].compact.join(" ")
    end

    def percent(path, name)
      before, now = recorded.dig(path, name), counted.dig(path, name)
      format("%+.1f %%", (now - before) * 100 / before.to_f) if before&.positive?
    end

    def group(figure) = figure.to_s.gsub(/(?<=\d)(?=(\d{3})+(\.|$))/, " ")
  end

  module_function

  def countable? = Callgrind.installed?

  def compare
    file = File.exist?(FILE) ? JSON.parse(File.read(FILE)) : {}
    Comparison.new(recorded: file.fetch("paths", {}), recorded_with: file.fetch("with", {}), counted: count, counted_with: with)
  end

  # Returns a line for people.
  def record
    figures = count
    File.write(FILE, "#{JSON.pretty_generate("with" => with, "paths" => figures)}\n")
    "Recorded #{figures.size} paths in #{FILE.delete_prefix("#{ROOT}/")}"
  end

  # What the figures depend on beside the code. The C library has a memcpy for each kind of CPU.
  def with
    host = output("rustc", "-vV")[/^host: (.*)/, 1]
    libc = output("getconf", "GNU_LIBC_VERSION").strip
    vectors = File.read("/proc/cpuinfo")[/^flags\s*:.*\bavx2\b/] ? "AVX2" : "no AVX2"
    ruby = "Ruby #{RUBY_VERSION}p#{RUBY_PATCHLEVEL}"
    { "rustc" => output("rustc", "--version").strip, "host" => host, "libc" => libc, "cpu" => vectors, "ruby" => ruby }
  end

  # Figures by path and name. Two programs run at the same time, since a count does not depend on other programs.
  def count
    rows = programs.flat_map do |program|
      output(*program).lines(chomp: true).map { |line| [program, *line.split(" ", 2).rotate] }
    end
    queue = Queue.new(rows.product([1, 1 + TIMES])).close
    counted = {}
    2.times.map { Thread.new { measure(counted, *queue.pop) until queue.empty? } }.each(&:join)
    rows.to_h { |_, path, operations| [path, difference(counted, path, Integer(operations))] }
  end

  # The programs. Each command lists its paths; with a path and a number it runs that path so many times.
  def programs = [[build], [RbConfig.ruby, SERVER]]

  def measure(counted, row, times)
    program, path, = row
    counted[[path, times]] = Callgrind.run(*program, path, times.to_s, chdir: ROOT)
  end

  def difference(counted, path, operations)
    once, more = counted.values_at([path, 1], [path, 1 + TIMES])
    once.to_h do |name, figure|
      each = (more.fetch(name) - figure) / (TIMES * operations).to_f
      [name, name == "instructions" ? each.round : each.round(2)]
    end
  end

  def build
    messages = output("cargo", "build", "--release", "--bench", "instructions", "--locked", "--message-format=json")
    messages.lines.filter_map { |line| JSON.parse(line)["executable"] }.last
  end

  def output(*command, **options)
    text, status = Open3.capture2(*command, chdir: ROOT, **options)
    raise "#{command.join(" ")} failed:\n#{text}" unless status.success?

    text
  end
end
