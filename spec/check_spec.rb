# frozen_string_literal: true

require "spec_helper"
require "push_server"

# push_server --check: what it prints, and its status.
RSpec.describe "push_server --check" do
  include Command

  hello = "run ->(_) { [200, {}, []] }"

  def check(*arguments, files: {}, **how)
    Dir.mktmpdir do |dir|
      files.each_key { |name| FileUtils.mkdir_p(File.dirname(File.join(dir, name))) }
      push_server("--check", *arguments, files: files, dir: dir, **how)
    end
  end

  it "prints each setting with its value and its source, and does not serve" do
    result = check("--max-queue", "9", "-b", "tcp://127.0.0.1:0", env: { "WEB_CONCURRENCY" => "2" },
                                       files: { "config.ru" => hello, "config/push_server.rb" => "threads 3\nping_interval nil" })
    expect([result.err, result.exitstatus]).to eq(["", 0])
    expect(result.out).to include("configuration file: config/push_server.rb\napp: config.ru\n")
    rows = result.out.lines.filter_map { |line| line.strip.split(/ {2,}| (?=default$|[-$])/) if line.start_with?("  ") }.to_h { |name, *rest| [name, rest] }
    expect(rows).to include("threads" => ["3", "config/push_server.rb:1"], "workers" => ["2", "$WEB_CONCURRENCY"],
                            "max_queue" => ["9", "--max-queue"], "bind" => ["tcp://127.0.0.1:0", "--bind"], "preload" => %w[true default],
                            "ping_interval" => ["off", "config/push_server.rb:2"], "max_body_size" => ["1 GiB", "default"])
    expect(rows.keys).to include(*PushServer::Options::TABLE.values.select(&:group).map { |option| option.name.to_s })
    expect(result.out).not_to include("Listening on")
  end

  it "names the processes after the folder as its user has typed it" do
    Dir.mktmpdir do |dir|
      Dir.mkdir("#{dir}/release")
      File.symlink("release", "#{dir}/current")
      folder = "#{dir}/current"
      result = push_server("--check", dir: folder, env: { "PWD" => folder }, files: { "config.ru" => hello })
      expect(result.out).to match(/^  tag +current +default$/)
      expect(push_server("--check", "--directory", folder, env: { "PWD" => "/" }).out).to match(/^  tag +current +default$/)
    end
  end

  it "keeps to itself what the app publishes while it is loaded" do
    app = "require 'push_server'\nPushServer.publish('a', 'b')\n#{hello}"
    expect(check("-e", "production", files: { "config.ru" => app }).exitstatus).to eq(0)
  end

  it "adds the memory up that the limits of all workers allow" do
    limits = %w[--channel-memory 64MiB --publish-queue-bytes 1MiB --max-queued-total 10MiB --max-spooled-total 1GiB]
    single = check(*limits, files: { "config.ru" => hello }).out
    expect(single).to match(/^  channel_memory +64 MiB$/).and match(/^  max_queued_total +10 MiB$/).and match(/^  sum +74 MiB$/)
    expect(single).to match(/temporary files: at most 1 GiB in /)
    cluster = check("-w", "16", *limits, files: { "config.ru" => hello }).out
    expect(cluster).to match(/^  channel_memory +in the hub +64 MiB$/).and match(/^  channel_memory +in the workers, 8 MiB each +128 MiB$/)
    expect(cluster).to match(/^  publish_queue_bytes +in the workers, 1 MiB each +16 MiB$/)
    expect(cluster).to match(/^  max_queued_total +in the workers, 10 MiB each +160 MiB$/).and match(/^  sum +368 MiB$/)
    expect(cluster).to match(/temporary files: at most 16 GiB in /)
  end

  it "shares what depends on the machine between the workers" do
    queued = ->(*words) { check(*words, files: { "config.ru" => hello }).out[/^  max_queued_total +([\d.]+ \w+) +default$/, 1] }
    single, cluster = queued.call, queued.call("-w", "2")
    bytes = ->(text) { text.to_f * { "GiB" => 1024, "MiB" => 1 }.fetch(text[/\w+\z/]) }
    expect(bytes.call(cluster)).to be_within(1).of(bytes.call(single) / 2)
  end

  it "warns if that is more than there is" do
    result = check("-w", "2", "--channel-memory", "900000GiB", files: { "config.ru" => hello })
    expect(result.out).to match(/This is more than the [\d.]+ GiB of this machine or container: lower the limits, or the number of workers/)
    expect(result.exitstatus).to eq(0)
  end

  it "says how many connections the limit of open files allows" do
    script = "Process.setrlimit(:NOFILE, 1024, 1024); exec(*ARGV)"
    run = lambda do |*words|
      run_command(RbConfig.ruby, "-e", script, RbConfig.ruby, File.join(AppProcess::ROOT, "exe/push_server"), "--check", *words,
                  files: { "config.ru" => hello }).out.lines.last
    end
    expect(run.call("-w", "2")).to match(/\AEach of the 2 workers can have only 896 connections, not 65536 .* 1024 open files: raise that limit/)
    expect(run.call("--max-connections", "800")).to match(/\AThe server can have 800 connections \(max_connections\)/)
  end

  it "has status 2 for a mistake in the configuration, and 1 for an app that cannot be loaded" do
    expect(check("--threads", "x", files: { "config.ru" => hello }).exitstatus).to eq(2)
    expect(check(env: { "WEB_CONCURRENCY" => "x" }, files: { "config.ru" => hello }).exitstatus).to eq(2)
    wrong = check(files: { "config.ru" => hello, "config/push_server.rb" => "foo" })
    expect([wrong.complaint.size, wrong.exitstatus]).to eq([1, 2])
    expect(wrong.err).to start_with("push_server: config/push_server.rb:1: there is no word foo: docs/options.md and ")
    expect(check("-b", "localhost", files: { "config.ru" => hello }).exitstatus).to eq(2)
    raises = check(files: { "config.ru" => "raise 'boom'" })
    expect([raises.complaint.first, raises.exitstatus]).to eq(["push_server: config.ru:1: boom (RuntimeError)", 1])
    expect(check.exitstatus).to eq(1)
  end
end
