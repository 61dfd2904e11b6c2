# frozen_string_literal: true

require "spec_helper"

# How bin/test runs its checks beside each other.
RSpec.describe "The checks of bin/test" do
  include Command

  source = lambda do |checks|
    <<~SH
      set -euo pipefail
      logs=$PWD
      source #{File.join(AppProcess::ROOT, "bin/checks")}
      #{checks}
      in_short
    SH
  end

  define_method(:run_checks) { |checks, **env| run_command("bash", "-c", source.call(checks), env: env.transform_keys(&:to_s)) }

  def in_short(result) = result.out[/^## In short\n(.*)/m, 1].gsub(/, \d+ s$/, "")

  it "run at the same time, and each output is printed as a whole" do
    result = run_checks(<<~'SH')
      check first sh -c 'echo one; touch started; until [ -e done ]; do sleep 0.01; done; echo two'
      check second sh -c 'until [ -e started ]; do sleep 0.01; done; echo three; touch done; echo four'
    SH
    expect(result.out).to match(/^one\ntwo\n/).and match(/^three\nfour\n/)
    expect(in_short(result)).to eq("first: passed\nsecond: passed\n")
    expect(result.exitstatus).to eq(0)
  end

  it "run one after the other if CHECKS_AT_ONCE says so" do
    result = run_checks("check first sh -c 'ls; touch here'\ncheck second ls", CHECKS_AT_ONCE: "1")
    expect(result.out.scan(/^here$/).size).to eq(1)
  end

  it "fail together if one fails, say which, and let the others run" do
    result = run_checks(<<~'SH')
      broken() { echo "2 examples, 1 failure"; false; echo "not reached"; }
      check first broken
      check second sh -c 'echo there is no browser; exit 77'
      check third echo "1 example, 0 failures"
    SH
    expect(in_short(result)).to eq(<<~TEXT)
      first: FAILED
          2 examples, 1 failure
      second: skipped: there is no browser
      third: passed
          1 example, 0 failures
    TEXT
    expect(result.out).not_to include("not reached")
    expect(result.exitstatus).to eq(1)
  end

  it "obey signals that a shell lets commands in the background ignore" do
    result = run_checks(%q(check first ruby -e 'p %w[INT QUIT].map { |name| Signal.trap(name, "DEFAULT") }'))
    expect(result.out).to include('["DEFAULT", "DEFAULT"]')
  end

  %w[INT TERM HUP].each do |signal|
    it "all end at #{signal}, with the processes that they have started" do
      launch_app("exec 'bash', '-c', DATA.read\n__END__\n#{source.call(<<~'SH')}", via: :ruby)
        check first bash -c 'echo $$ >>pids; bash -c "echo \$\$ >>pids; exec sleep 100"; true'
        check second bash -c 'until [ "$(wc -l <pids)" = 2 ]; do sleep 0.01; done; echo "it runs"'
        check third sleep 100
        check fourth sleep 100
        check fifth touch fifth
      SH
      app.wait_for_line(/it runs/)
      app.wait_for_line(/fourth: started/)
      pids = File.readlines(File.join(app.dir, "pids")).map(&:to_i)
      app.signal(signal)

      expect(app.wait.exitstatus).to eq(1)
      expect(app.lines.map(&:chomp)).to include(/\Afirst: interrupted, /, /\Asecond: passed, /, "Interrupted: not all checks have run")
      expect(app.output).not_to include("fifth")
      expect_eventually("no process of the checks") { pids.none? { |pid| alive?(pid) } }
    end
  end

  def alive?(pid)
    Process.kill(0, pid)
  rescue Errno::ESRCH
    false
  end
end
