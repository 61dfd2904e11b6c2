# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The hooks of a configuration file", transport: :tcp do
  hooks = <<~'RUBY'
    say = ->(name, *arguments) { $stdout.syswrite("#{[name, *arguments].join(" ")} in #{Process.pid}\n") }
    before_fork { say.call(:before_fork) }
    before_worker_fork { |number| say.call(:before_worker_fork, number) }
    after_worker_fork { |number| say.call(:after_worker_fork, number) }
    before_worker_boot { |number| say.call(:before_worker_boot, number) }
    before_worker_shutdown { |number| say.call(:before_worker_shutdown, number) }
    before_thread_start { say.call(:before_thread_start) }
    before_thread_exit { say.call(:before_thread_exit) }
    after_booted { say.call(:after_booted) }
    after_stopped { say.call(:after_stopped) }
  RUBY

  # The calls of a hook: its arguments and the pid, as text.
  def calls(name) = app.lines.filter_map { |line| line[/^#{name} (.*)/, 1] }

  it "run in the processes that they are for, with the worker's number" do
    start_cluster(Clusters::PIDS, files: { "config/push_server.rb" => hooks })
    leader, pids = tree.leaders.first.pid, workers
    app.wait_for_line(/^after_booted/)
    app.stop

    expect(calls(:before_fork)).to eq(["in #{leader}"])
    expect(calls(:before_worker_fork)).to eq(["1 in #{leader}", "2 in #{leader}"])
    expect(calls(:after_worker_fork)).to eq(["1 in #{leader}", "2 in #{leader}"])
    %i[before_worker_boot before_worker_shutdown].each do |name|
      expect(calls(name)).to contain_exactly("1 in #{pids[1]}", "2 in #{pids[2]}")
    end
    %i[before_thread_start before_thread_exit].each do |name|
      expect(calls(name)).to match_array(pids.values.flat_map { |pid| ["in #{pid}"] * 5 })
    end
    %i[after_booted after_stopped].each { |name| expect(calls(name)).to eq(["in #{app.pid}"]) }
  end

  it "run only in workers and the supervisor without preload" do
    start_cluster(Clusters::PIDS, "--no-preload", files: { "config/push_server.rb" => hooks })
    app.wait_for_line(/^after_booted/)
    app.stop

    expect(calls(:before_worker_boot).size).to eq(2)
    expect(calls("before_fork|before_worker_fork|after_worker_fork")).to be_empty
  end

  it "are read anew by new workers" do
    start_cluster(Clusters::PIDS, files: { "config/push_server.rb" => "before_worker_boot { $stdout.syswrite(\"old hook\\n\") }" })
    expect_line(/old hook/)
    File.write(File.join(app.dir, "config/push_server.rb"), "before_worker_boot { $stdout.syswrite(\"new hook\\n\") }")
    app.signal("USR1")

    expect_line(/new hook/)
    expect_line(/the phased restart is done/)
  end

  it "do not stop the server if they raise, except before_worker_boot; the log has the place and the exception" do
    names = %w[before_fork before_worker_fork after_worker_fork before_thread_start after_booted]
    file = [*names, "before_worker_shutdown", "after_stopped"].map { |name| "#{name} { raise '#{name} is broken' }" }.join("\n")
    start_cluster(Clusters::PIDS, files: { "config/push_server.rb" => file })
    expect_eventually("answers of both workers") { answering.size == 2 }
    expect(app.stop).to be_success

    [*names, "before_worker_shutdown", "after_stopped"].each do |name|
      expect_line(%r{#{name} \(config/push_server.rb:\d+\): RuntimeError: #{name} is broken})
    end
  end

  it "run before the server executes itself anew, if they are before_restart" do
    start_cluster(Clusters::PIDS, files: { "config/push_server.rb" => "before_restart { $stdout.syswrite(\"in \#{Process.pid}\\n\") }" })
    app.signal("USR2")

    expect_line(/^in #{app.pid}$/)
    expect_line(/the phased restart is done/)
  end
end
