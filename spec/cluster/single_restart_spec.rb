# frozen_string_literal: true

require "spec_helper"
require "tmpdir"

# A server in a single process that restarts: USR2, or `push_server restart`, which commands_to_one_process_spec.rb is about. What
# can go wrong is in single_restart_faults_spec.rb, and other signals meanwhile are in single_restart_signals_spec.rb.
RSpec.describe "A restart of a server in a single process" do
  include VersionedApp

  # Clients that ask all the time, each request on a new connection, until the block has ended.
  # @return [Array] what was answered, and what was raised
  def asking_meanwhile(count = 4)
    done = false
    answers = Thread::Queue.new
    askers = Array.new(count) do
      Thread.new do
        answers << begin
          answer
        rescue StandardError => e
          e
        end until done
      end
    end
    yield
    done = true
    askers.each(&:join)
    Array.new(answers.size) { answers.pop }
  ensure
    done = true
    askers&.each(&:kill)
  end

  %i[tcp unix].each do |transport|
    context "over #{transport}", transport: transport do
      it "serves new code in the same process, at the same place, and refuses no connection" do
        start_app(app_of("one"))
        place = app.url
        answers = asking_meanwhile { restart("two") }
        expect(answers.grep(Exception)).to eq([])
        expect(answers.uniq).to match_array(%w[one two]).or eq(["two"])
        # After the first answer of the new version, no client gets one of the old version.
        expect(answers.slice_when { |one, other| one != other }.count).to be <= 2 + 4
        expect_eventually("the same place in the log") do
          app.lines.grep(/Listening on/).map { |line| line[AppProcess::LISTENING, :url] } == [place, place]
        end
        expect(app.stop.exitstatus).to eq(0)
      end
    end
  end

  it "can be done again and again, and keeps nothing open" do
    start_app(app_of("0"))
    restart("1")
    http.get("/")
    close_clients
    # The last connection is closed a moment later.
    first = eventually { app.descriptors.size if app.descriptors.values.grep(/socket/).size <= 2 }
    3.times do |round|
      restart((round + 2).to_s)
      expect_eventually("no more descriptors than after the first restart") { app.descriptors.size <= first }
    end
    expect(app.stop.exitstatus).to eq(0)
  end

  it "tells clients that they may come back: 1012 for WebSockets, the delay for event streams" do
    start_app(app_of("one"))
    socket = opened(websocket)
    stream = opened(sse)
    change("two")
    app.signal("USR2")
    expect(socket.read_close.first).to eq(1012)
    expect_event(:shutdown, socket)
    expect(event(:close, socket)).to include(code: 1012)
    expect(stream.connection.read_to_end).to match(/^retry: ?\d+/)
    expect_version("two")
    expect(opened(websocket).response.status).to eq(101)
  end

  it "finishes what is open, and lets new connections wait meanwhile" do
    start_app(app_of("one"))
    slow = http.send_request("GET", "/wait")
    app.events.take(event: "waiting")
    stream = opened(websocket)
    change("two")
    app.signal("USR2")
    # Now the old version accepts no more, but for what was in the backlog.
    stream.read_close(seconds: 60)
    late = Array.new(5) { http.send_request("GET", "/") }
    app.ask("$go << 1; nil")
    expect(slow.read_response.body).to eq("one")
    bodies = late.map { |client| client.read_response.body }
    expect(bodies).to end_with("two").and all(eq("one").or(eq("two")))
  end

  it "cuts what takes longer than the drain timeout" do
    start_app(app_of("one"), "--drain-timeout", "0.2")
    slow = http.send_request("GET", "/wait")
    app.events.take(event: "waiting")
    restart("two")
    expect(slow.connection.ending).not_to be_nil
  end

  it "works with rackup, too" do
    start_app(app_of("one"), "-s", "push_server", via: :rackup)
    restart("two")
    expect(app.stop.exitstatus).to eq(0)
  end

  it "follows a symlink in the app's folder anew" do
    Dir.mktmpdir do |dir|
      %w[one two].each do |release|
        Dir.mkdir("#{dir}/#{release}")
        File.write("#{dir}/#{release}/config.ru", app_of(release))
      end
      File.symlink("one", "#{dir}/current")
      start_app("config.ru", dir: "#{dir}/current", env: { "PWD" => "#{dir}/current" })
      expect(answer).to eq("one")
      File.unlink("#{dir}/current")
      File.symlink("two", "#{dir}/current")
      app.signal("USR2")
      expect_version("two")
      app.stop
    end
  end
end
