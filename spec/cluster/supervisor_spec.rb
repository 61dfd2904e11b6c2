# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The supervisor", transport: :tcp do
  # An app that tells which process has loaded it.
  source = <<~'CONFIG'
    $stdout.syswrite("loaded in #{Process.pid}\n")
    KEPT = "x" * (150 << 20)
    run ->(_) { [200, {}, [Process.pid.to_s]] }
  CONFIG

  # The native threads of a process.
  def threads(pid) = Dir.children("/proc/#{pid}/task").size

  # Those of a Ruby that does nothing: some versions have one for timers.
  def threads_of_ruby
    IO.popen([RbConfig.ruby, "--disable-gems", "-e", "puts 1; $stdout.flush; sleep", { pgroup: true }]) do |ruby|
      ruby.gets
      threads(ruby.pid)
    ensure
      Process.kill("KILL", ruby.pid)
    end
  end

  def expect_slim
    expect_eventually("no thread beside Ruby's") { threads(app.pid) <= threads_of_ruby }
    expect(app.resident).to be < 100 << 10
  end

  { "with preload" => [], "without preload" => %w[--no-preload] }.each do |mode, switches|
    it "loads no app and has no native thread, also after restarts: #{mode}" do
      start_cluster(source, *switches)
      expect_slim
      %w[USR1 USR2].each.with_index(1) do |signal, done|
        before = workers.values
        app.signal(signal)
        expect_new_workers([1, 2], before: before, seconds: 60)
        expect_eventually("the end of the restart") { app.lines.grep(/the phased restart is done/).size == done }
        expect_slim
      end

      loads = app.lines.grep(/loaded in/).map { |line| line[/\d+/].to_i }
      expect(loads.size).to eq(3 * (switches.empty? ? 1 : 2))
      expect(loads).not_to include(app.pid)
    end
  end
end
