# frozen_string_literal: true

require "spec_helper"

# Each worker has the file open. logrotate renames it, and has it opened anew.
RSpec.describe "The access log of a server with workers", transport: :tcp do
  include Command

  around do |example|
    Dir.mktmpdir("push_server-spec") { |dir| (@folder = dir) && example.run }
  end

  # Clients that ask for one path after the other, each path once, until the block has ended. Returns the paths that were answered.
  def paths_asked_meanwhile
    done = false
    numbers = Thread::Queue.new.tap { |queue| 20_000.times { |number| queue << "/r#{number}" } }
    askers = Array.new(2) { Thread.new { [].tap { |paths| paths << ask(numbers.pop) until done } } }
    yield
    done = true
    askers.flat_map(&:value)
  ensure
    done = true
    askers&.each(&:kill)
  end

  def ask(path)
    raise "no answer to #{path}" if fetch(path).empty?

    path
  end

  # The requests in the files, in any order.
  def logged = Dir.glob("#{file}*").flat_map { |name| File.read(name).scan(/GET (\S+)/).flatten }

  def file = File.join(@folder, "access.log")

  # Renames the file, and waits until there is another one.
  def rotate(number)
    File.rename(file, "#{file}.#{number}")
    yield
    eventually("another file") { File.exist?(file) }
  end

  def reload_by_command
    expect(push_server("reload", "--control-socket", File.join(app.dir, "control.sock")).complaint).to eq([])
  end

  { "with preload" => [], "without preload" => %w[--no-preload] }.each do |mode, switches|
    it "has each request once when it is opened anew, by HUP or `push_server reload`, also while workers are replaced: #{mode}" do
      start_cluster(Clusters::PIDS, "--access-log", "common", "--access-log-file", file, "--control-socket", "control.sock", *switches)
      paths = paths_asked_meanwhile do
        rotate(1) { app.signal("HUP") }
        before = workers.values
        app.signal("USR1")
        app.wait_for_line(switches.empty? ? /leader 2 .* has loaded/ : /phased restart: the app is loaded anew/, seconds: 30)
        rotate(2) { reload_by_command }
        eventually("new workers alone", seconds: 60) { (now = tree.workers).size == 2 && (now.map(&:pid) & before).empty? }
        rotate(3) { app.signal("HUP") }
      end
      expect(app.stop).to be_success

      expect(logged.tally.reject { |_, count| count == 1 }).to eq({})
      expect(logged).to match_array(paths)
      expect(Dir.glob("#{file}*").size).to eq(4)
    end
  end
end
