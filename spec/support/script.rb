# frozen_string_literal: true

require "json"
require_relative "deadline"

# A program of spec/browser/scripts, which uses Chromium or a client from npm or PyPI. It prints lines; the last one is a JSON
# object with its results.
class Script
  DIR = File.expand_path("../browser", __dir__)
  PATIENCE = 300

  Failed = Class.new(StandardError)

  # Why programs of this kind (:node, :chromium, :python) cannot run here; nil if they can.
  def self.missing(kind)
    case kind
    when :node then "spec/browser/node_modules is missing: run bin/setup test" unless Dir.exist?(File.join(DIR, "node_modules"))
    when :chromium then missing(:node) || ("there is no #{chromium}" unless File.executable?(chromium))
    when :python then "$PUSH_SERVER_PYTHON names no Python with websockets" unless python?("websockets")
    when :httpx then "$PUSH_SERVER_PYTHON names no Python with httpx_sse" unless python?("httpx_sse")
    end
  end

  def self.chromium = ENV.fetch("CHROMIUM", "/usr/bin/chromium")
  def self.python = ENV.fetch("PUSH_SERVER_PYTHON", "python3")
  def self.python?(package) = system(python, "-c", "import #{package}", out: File::NULL, err: File::NULL)

  # Runs a program to its end and returns its results.
  def self.run(name, *arguments) = new(name, *arguments).results

  # Runs this text as a program of Node or Python. It runs until it is stopped.
  def self.inline(language, code)
    new(nil, command: { js: ["node", "--input-type=module", "-e", code], python: [python, "-u", "-c", code] }.fetch(language))
  end

  def initialize(name, *arguments, command: nil)
    command ||= [name.end_with?(".py") ? self.class.python : "node", File.join(DIR, "scripts", name), *arguments]
    @io = IO.popen([*command, { err: %i[child out], chdir: DIR }], "r+")
    @deadline = Deadline.in(PATIENCE)
    @printed = []
  end

  def pid = @io.pid

  # Waits for it to print this line.
  def wait_for(line)
    nil until read_line == line
  end

  def tell(line)
    @io.puts(line)
    @io.flush
  end

  # The next lines that it prints.
  def read_lines(count) = Array.new(count) { read_line }

  # Sends a line to it, and returns the line that it answers.
  def order(line)
    @deadline = Deadline.in(PATIENCE)
    tell(line)
    read_line
  end

  def results
    nil while read_line(or_end: true)
    @io.close
    raise Failed, @printed.join("\n") unless $?.success?

    JSON.parse(@printed.last, symbolize_names: true)
  ensure
    stop
  end

  def stop
    return if @io.closed?

    Process.kill("KILL", @io.pid)
    @io.close
  rescue Errno::ESRCH
    @io.close
  end

  private

  def read_line(or_end: false)
    @io.wait_readable(@deadline.remaining) or raise Failed, "it did not end; it printed:\n#{@printed.join("\n")}"
    line = @io.gets(chomp: true)
    raise Failed, "it ended early; it printed:\n#{@printed.join("\n")}" if line.nil? && !or_end

    @printed << line if line
    line
  end
end
