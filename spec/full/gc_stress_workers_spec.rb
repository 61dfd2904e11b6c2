# frozen_string_literal: true

require "spec_helper"

# As gc_stress_spec.rb, with two workers: for what happens between processes. Each object that is made under stress costs milliseconds,
# so the workers are under stress only while native code makes objects: when clients subscribe, while messages are on their way, and
# when clients are told of a drain. In the second context, objects move wherever the app is called.
RSpec.describe "Two workers under GC.stress", :full, transport: :tcp do
  include ChannelClients

  config = <<~'CONFIG'
    require "spec_app"
    require "forked_child"

    PushServer.channel "kept-*", history: 50
    # What begins a time of stress, and what the app does where objects are to move.
    $begin = -> { GC.stress = true }
    $collect = nil

    class Subscriber
      def on_open(client)
        name = client.env["PATH_INFO"].delete_prefix("/")
        $begin.call
        client.subscribe("kept-#{name}")
        client.subscribe("call-#{name}") do |channel, data|
          $collect&.call
          client.write("#{channel} #{data} #{data.encoding}", event: "called")
        end
        client.subscribe(to: "call-#{name}*", match: :redis, handler: ->(channel, data) { client.write("#{channel} #{data}", event: "matched") })
        GC.stress = false
        SpecApp.report("open", client, pid: Process.pid, recovered: client.recovered?.inspect)
      end

      def on_shutdown(client)
        $begin.call
        client.write("until soon", event: "shutdown")
        GC.stress = false
      end

      def on_close(client) = client.write("too late")
    end

    run(lambda do |env|
      if env["rack.upgrade?"]
        env["rack.upgrade"] = Subscriber.new
        next [200, {}, []]
      end

      $collect&.call
      # An answer is held back until the hub has numbered what the request has published.
      kept, called = "kept-#{env["QUERY_STRING"]}", "call-#{env["QUERY_STRING"]}"
      body =
        case env["PATH_INFO"]
        when "/pid" then Process.pid.to_s
        when "/stress" then $begin.call.to_s
        when "/calm" then (GC.stress = false).to_s
        when "/move"
          $begin = $collect = -> { GC.compact && true }
          (GC.auto_compact = true).to_s
        when "/publish"
          cursor = PushServer.publish(kept, "text é", event: "said")
          PushServer.publish(kept, { "a" => [1, nil, "é"] })
          PushServer.publish(called, "b".b)
          $collect&.call
          [cursor == cursor.to_s, Marshal.load(Marshal.dump(cursor)) == cursor, PushServer.cursor.class, cursor].join(" ")
        when "/numbers"
          3.times { |number| PushServer.publish(kept, number) }
          ""
        when "/history" then PushServer.history(kept).map { |it| "#{it.event.inspect} #{it.data}" }.join("\n")
        when /fork(-and-unwind)?\z/
          child = ForkedChild.new(unwind: !$1.nil?) { $collect&.call; PushServer.publish(kept, "from a child").to_s }
          PushServer.publish(kept, "from its parent").to_s
          child.value(seconds: 60)
        end
      [200, { "content-type" => "text/plain" }, [body]]
    end)
  CONFIG

  def pids = app.tree.workers.map(&:pid).sort

  # A connection to each worker that serves. They are made at the same time, so that the workers share them.
  def connections
    eventually("a connection to each of two workers", seconds: 60) do
      clients = Array.new(3) { http }
      by_pid = clients.to_h { |client| [ask(client, "/pid").to_i, client] }
      by_pid.values if by_pid.keys.sort == pids
    end
  end

  # The answer of this worker, however long it takes.
  def ask(worker, target)
    worker.send_request("GET", target)
    eventually("an answer to #{target}", seconds: 60) { worker.connection.anything? }
    worker.read_response.body
  end

  # Clients of this channel: at least one in each worker, and at least one of each kind.
  def subscribers(name)
    clients = []
    served = []
    eventually("clients of both workers", seconds: 60) do
      opening = [SseClient, PushV1Client].map { |kind| Thread.new { unopened(kind, name) } }
      clients += opening.map(&:value)
      served = clients.last(2).map { |client| event(:open, client, seconds: 60)[:pid] } | served
      served.sort == pids
    end
    clients
  end

  # The next events without the one that opens the stream.
  def read_events(client, count)
    events = []
    while events.size < count
      event = client.read_event(seconds: 60)
      events << event unless event.event == "push.open"
    end
    events
  end

  def read(client, count) = read_events(client, count).map { |event| [event.event, event.data] }

  # Reads the end of a stream whose server restarts.
  def finish(client)
    return client.read_to_end(seconds: 60) if client.is_a?(SseClient)

    expect(client.read_close(seconds: 60).first).to eq(1012)
    client.send_close(1012)
  end

  { "at every allocation" => nil, "with objects that move" => "/move" }.each do |title, path|
    context title do
      serve config, "-w", 2, "--threads", 2, "--head-timeout", 600, "--pong-timeout", 600

      before do
        skip "This Ruby cannot compact" if path && Compaction.missing
        app.wait_for_line(/All 2 workers serve/)
      end

      after { @stressed&.each { |worker| ask(worker, "/calm") } }

      let(:name) { Serving.next_name }

      # A connection to each worker.
      let!(:workers) { connections.each { |worker| ask(worker, path) if path } }

      # From now on, both workers are under stress.
      def stress
        @stressed = workers
        workers.each { |worker| expect(ask(worker, "/stress")).to eq("true") }
      end

      it "publish to each other's clients, and call their blocks" do
        clients = subscribers(name)
        stress
        workers.each { |worker| expect(ask(worker, "/publish?#{name}")).to match(/\Atrue true PushServer::Cursor \h+-\d+\z/) }
        kept = [["said", "text é"], ["msg", '{"a":[1,null,"é"]}']] * 2
        called = [["called", "call-#{name} b ASCII-8BIT"], ["matched", "call-#{name} b"]] * 2
        clients.each { |client| expect(read(client, 8)).to match_array(kept + called) }
        histories = workers.map { |worker| ask(worker, "/history?#{name}").force_encoding("UTF-8").lines(chomp: true) }
        expect(histories).to eq([['"said" text é', 'nil {"a":[1,null,"é"]}'] * 2] * 2)
      end

      it "fork children that publish" do
        client = subscribers(name).first
        stress
        %w[/fork /fork-and-unwind].zip(workers) { |fork, worker| expect(ask(worker, "#{fork}?#{name}")).to match(/\A\h+-\d+\z/) }
        expect(read(client, 4).map(&:last).tally).to eq("from a child" => 2, "from its parent" => 2)
      end

      it "go on with another hub" do
        clients = subscribers(name)
        stress
        before = app.tree.hub.pid
        Process.kill("KILL", before)
        workers.each { |worker| expect(ask(worker, "/numbers?#{name}")).to eq("") }
        expect(clients.map { |client| read(client, 6).map(&:last).sort }).to all(eq(%w[0 0 1 1 2 2]))
        expect(app.tree.hub.pid).not_to eq(before)
      end

      it "drain in a phased restart, after which their clients go on" do
        clients = subscribers(name)
        ask(workers.first, "/numbers?#{name}")
        last = clients.map { |client| read_events(client, 3).last.id }
        expect(last.uniq.size).to eq(1)
        restarts = app.lines.grep(/the phased restart is done/).size
        app.signal("USR1")
        # At the same time: a WebSocket that does not answer a Close frame soon is reset.
        finished = clients.map { |client| Thread.new { client.read_event(seconds: 60).tap { finish(client) } } }
        expect(finished.map(&:value)).to all(have_attributes(event: "shutdown", data: "until soon"))
        close_clients
        eventually("the restart", seconds: 60) { app.lines.grep(/the phased restart is done/).size > restarts }
        ask(connections.first, "/numbers?#{name}")
        [SseClient, PushV1Client].each do |kind|
          client = unopened(kind, name, since: last.first)
          expect(event(:open, client, seconds: 60)).to include(recovered: "true")
          expect(read(client, 3).map(&:last)).to eq(%w[0 1 2])
        end
      end
    end
  end
end
