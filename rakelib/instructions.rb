# frozen_string_literal: true

require "json"
require "open3"

# How many instructions the core's hot paths take, by valgrind's count: a figure that no other program on the machine,
# and no turbo, can change. See bench/instructions/main.rs.
module Instructions
  ROOT = File.expand_path("..", __dir__)
  FILE = File.join(ROOT, "bench/instructions.json")
  # Allowed on top of what is recorded.
  TOLERANCE = 0.05
  # A path is gone along once, and that many times more: the difference is what it costs.
  TIMES = 10

  # What was recorded beside what was counted now. Both are figures by path; `recorded_with` and `counted_with` say by
  # what, since a compiler or C library of another version makes other figures.
  Comparison = Struct.new(:recorded, :counted, :recorded_with, :counted_with, keyword_init: true) do
    def table
      rows = counted.map { |path, figure| [path, group(figure), group(recorded[path]), percent(path)] }
      rows.unshift(["path", "instructions per operation", "recorded", "difference"])
      widths = rows.transpose.map { |column| column.map(&:length).max }
      rows.map { |path, *figures| [path.ljust(widths[0]), *figures.zip(widths[1..]).map { |it, width| it.rjust(width) }].join("  ") }
    end

    def failed? = comparable? && (dearer.any? || missing.any?)

    # One line.
    def verdict
      if recorded.empty?
        "Nothing is recorded. #{HOW_TO_RECORD}"
      elsif !comparable?
        "Not judged: recorded with #{recorded_with.values.join(", ")}; this is #{counted_with.values.join(", ")}. #{HOW_TO_RECORD}"
      elsif missing.any?
        "Recorded and counted paths differ: #{missing.join(", ")}. #{HOW_TO_RECORD}"
      elsif dearer.any?
        "More expensive than recorded: #{named(dearer)}. If that is meant to be: rake instructions:record"
      elsif cheaper.any?
        "Cheaper than recorded: #{named(cheaper)}. So that it stays so: rake instructions:record"
      else
        "No path is more than #{(TOLERANCE * 100).round} % from what is recorded."
      end
    end

    private

    def comparable? = recorded_with == counted_with
    def missing = (recorded.keys | counted.keys) - (recorded.keys & counted.keys)
    def dearer = counted.keys.select { |path| difference(path)&.> TOLERANCE }
    def cheaper = counted.keys.select { |path| difference(path)&.< -TOLERANCE }
    def named(paths) = paths.map { |path| "#{path} (#{percent(path)})" }.join(", ")
    def percent(path) = difference(path) ? format("%+.1f %%", difference(path) * 100) : "-"

    def difference(path)
      (counted[path] - recorded[path]) / recorded[path].to_f if recorded[path]
    end

    def group(figure) = figure ? figure.to_s.gsub(/(?<=\d)(?=(\d{3})+$)/, " ") : "-"
  end
  HOW_TO_RECORD = "To record these: rake instructions:record"

  module_function

  def countable? = !system("valgrind", "--version", out: File::NULL).nil?

  def compare
    file = File.exist?(FILE) ? JSON.parse(File.read(FILE)) : {}
    Comparison.new(recorded: file.fetch("instructions", {}), recorded_with: file.fetch("with", {}), counted: count, counted_with: with)
  end

  # Returns a line for people.
  def record
    figures = count
    File.write(FILE, "#{JSON.pretty_generate("with" => with, "instructions" => figures)}\n")
    "Recorded #{figures.size} paths in #{FILE.delete_prefix("#{ROOT}/")}"
  end

  # What the figures depend on beside the code: the C library's memcpy goes by what the CPU can, too.
  def with
    host = output("rustc", "-vV")[/^host: (.*)/, 1]
    libc = output("getconf", "GNU_LIBC_VERSION").strip
    vectors = File.read("/proc/cpuinfo")[/^flags\s*:.*\bavx2\b/] ? "AVX2" : "no AVX2"
    { "rustc" => output("rustc", "--version").strip, "host" => host, "libc" => libc, "cpu" => vectors }
  end

  # Figures by path.
  def count
    program = build
    output(program).lines(chomp: true).to_h do |line|
      operations, path = line.split(" ", 2)
      once, more = [1, 1 + TIMES].map { |times| instructions(program, path, times) }
      [path, ((more - once) / (TIMES * Integer(operations)).to_f).round]
    end
  end

  def build
    messages = output("cargo", "build", "--release", "--bench", "instructions", "--locked", "--message-format=json")
    messages.lines.filter_map { |line| JSON.parse(line)["executable"] }.last
  end

  def instructions(program, path, times)
    collected(output("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, path, times.to_s, err: %i[child out]))
  end

  # The figure in what callgrind prints at its end.
  def collected(text) = Integer(text[/Collected : (\d+)/, 1] || raise("callgrind counted nothing:\n#{text}"))

  def output(*command, **options)
    text, status = Open3.capture2(*command, chdir: ROOT, **options)
    raise "#{command.join(" ")} failed:\n#{text}" unless status.success?

    text
  end
end
