# frozen_string_literal: true

require "fileutils"
require "json"
require "tmpdir"
require_relative "app_process"
require_relative "deadline"

# The Autobahn test suite (https://github.com/crossbario/autobahn-testsuite), as a client of a server that echoes. It is for
# Python 2.7; bin/test --full puts both into .local/autobahn.
class Autobahn
  DIR = File.join(AppProcess::ROOT, ".local/autobahn")
  PYTHON = File.join(DIR, "usr/bin/python2.7")
  # The suite asks which of its frameworks to use.
  PROGRAM = "import txaio; txaio.use_twisted(); from autobahntestsuite.wstest import run; run()"

  # The result of a case: its number, the suite's verdicts on the behavior and the close, and the reason.
  Verdict = Struct.new(:number, :behavior, :close, :expected, keyword_init: true) do
    # Passed strictly. Some cases are informational only.
    def strict? = [behavior, close].all? { |word| %w[OK INFORMATIONAL].include?(word) }
    def to_s = "#{number}: #{behavior}, closed #{close}; #{expected}"
  end

  class << self
    # Why the suite cannot run here; nil if it can.
    def missing
      return "The Autobahn test suite is not here: bin/test --full sets it up" unless File.executable?(PYTHON)

      "#{PYTHON} does not run here" unless system(environment, PYTHON, "-c", "import autobahntestsuite", out: File::NULL, err: File::NULL)
    end

    def environment
      { "LD_LIBRARY_PATH" => Dir[File.join(DIR, "usr/lib/*-linux-gnu")].join(":"), "PYTHONHOME" => File.join(DIR, "usr"),
        "PYTHONPATH" => File.join(DIR, "packages"), "PYTHONDONTWRITEBYTECODE" => "1" }
    end

    # Runs the cases of these numbers (such as "9.*") against a WebSocket, and returns their verdicts.
    def run(url, *cases, seconds:)
      Dir.mktmpdir("push_server-autobahn") do |dir|
        File.write(File.join(dir, "spec.json"), JSON.generate(
          outdir: dir, servers: [{ agent: "it", url: url }], cases: cases, "exclude-cases": [], "exclude-agent-cases": {}
        ))
        output = wait_for(dir, seconds)
        report = File.join(dir, "index.json")
        raise "it wrote no report:\n#{output}" unless File.exist?(report)

        JSON.parse(File.read(report)).fetch("it").map { |number, row| verdict(dir, number, row) }
      end
    end

    private

    def wait_for(dir, seconds)
      log = File.join(dir, "log")
      pid = spawn(environment, PYTHON, "-c", PROGRAM, "-m", "fuzzingclient", "-s", File.join(dir, "spec.json"),
                  chdir: dir, in: File::NULL, %i[out err] => log)
      deadline = Deadline.in(seconds)
      until Process.wait(pid, Process::WNOHANG)
        deadline.check!("the cases to end; the last: #{File.readlines(log).last}")
        sleep 0.1
      end
      pid = nil
      File.read(log)
    ensure
      if pid
        Process.kill("KILL", pid)
        Process.wait(pid)
      end
    end

    def verdict(dir, number, row)
      verdict = Verdict.new(number: number, behavior: row.fetch("behavior"), close: row.fetch("behaviorClose"))
      verdict.expected = explanation(File.join(dir, row.fetch("reportfile"))) unless verdict.strict?
      verdict
    end

    # What the suite expected and received in a case.
    def explanation(report)
      JSON.parse(File.read(report)).values_at("expectation", "result", "resultClose").join(" / ")
    rescue JSON::ParserError
      # The report holds what was sent, which need not be UTF-8.
      "no explanation"
    end
  end
end
