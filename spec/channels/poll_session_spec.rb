# frozen_string_literal: true

require "spec_helper"

# A session is the client that the app has for a series of polls: which polls continue it, and how it ends.
RSpec.describe "A session of long polls" do
  include ChannelClients
  include Polling

  context "by default" do
    serve Polling::CONFIG, "--threads", "1"

    let(:channel) { "kept-#{Serving.next_name}" }

    it "is one member, even when polls are lost" do
      room = "room-#{Serving.next_name}"
      watcher = subscribed(SseClient, room)
      client = polling(room, headers: { "x-member" => "ana" })
      expect(watcher.read_event.to_h).to include(event: "push.join")
      start_poll(client).lose
      3.times { client.poll(wait: 0) }
      expect(app.ask("PushServer.present(#{room.inspect}).keys")).to eq(["ana"])
      publish(room, "next")
      expect(watcher.read_event.data).to eq("next")
    end

    it "ends when the app does not accept a poll" do
      [[401, {}, ["no"]], [200, {}, ["no handler"]], [302, { "location" => "/" }, []]].each do |answer|
        client = polling(channel)
        refuse(answer)
        expect(client.poll.status).to eq(answer.first)
        expect(event(:close, client)).to include(code: nil)
        refuse(nil)
        publish(channel, "1")
        events = client.poll.events
        expect(events.map(&:event)).to eq(%w[push.open msg])
        expect(JSON.parse(events.first.data)).to eq("recovered" => true, "gap" => [])
        event(:open, client)
        expect(callbacks(client)).to eq(%i[open close open])
      end
    ensure
      refuse(nil)
    end

    it "ends when the app refuses another poll, and its waiting poll is answered" do
      client = polling(channel)
      other = poller("/#{channel}")
      other.instance_variable_set(:@cursor, client.cursor)
      start_poll(client)
      refuse([403, {}, []])
      expect(other.poll(target: "/#{channel}?#{client.id}").status).to eq(403)
      expect(client.answer.ids.last).to match(/\A\h+-\d+\z/)
      event(:close, client)
    ensure
      refuse(nil)
    end

    it "is continued only by a poll with its path, query and token" do
      client = polling("#{channel},secret")
      cursor = client.cursor
      strangers = { "/#{channel}?#{client.id}" => cursor, "/#{channel},secret?#{client.id}&more" => cursor,
                    "/#{channel},secret?#{client.id}" => cursor.sub(/\.\h+/, ".#{"0" * 32}") }
      strangers.each do |target, id|
        stranger = poller("/#{channel}", cursor: id)
        expect(stranger.poll(target: target).events.map(&:event)).to eq(["push.open"])
      end
      expect(app.events.all(event: "close", id: client.id)).to eq([])
      expect(client.poll(wait: 0).events).to eq([])
      expect(numbers([client.cursor])).to eq(numbers([cursor]))
    end

    # A user may have found the ID of another user's session in a log.
    it "is continued only by a poll of the owner that the app has named" do
      client = polling(channel, headers: { "x-owner" => '"u7"' })
      cursor = client.cursor
      ask(client, "client.write('for u7 alone')")
      publish(channel, "for all")
      ['"u8"', "nil", "7", '""', '"u7 "', ":u70"].each do |owner|
        stranger = poller("/#{channel}", cursor: cursor, headers: { "x-owner" => owner })
        events = stranger.poll(target: "/#{channel}?#{client.id}").events
        expect(events.map { |it| [it.event, it.data] }).to eq([["push.open", '{"recovered":true,"gap":[]}'], ["msg", "for all"]])
        expect(stranger.cursor[/\.\h{32}/]).not_to eq(cursor[/\.\h{32}/])
      end
      # The owner notices nothing.
      expect(client.poll.data).to contain_exactly("for u7 alone", "for all")
      expect(app.events.all(event: "close", id: client.id)).to eq([])
    end

    it "ends when the app refuses a poll of its owner or without an owner, but not one of another owner" do
      ['"u7"', "nil"].each do |owner|
        client = polling(channel, headers: { "x-owner" => '"u7"' })
        refuse([403, {}, []])
        stranger = poller("/#{channel}", cursor: client.cursor, headers: { "x-owner" => '"u8"' })
        expect(stranger.poll(target: "/#{channel}?#{client.id}").status).to eq(403)
        refuse(nil)
        ask(client, "client.write('still here')")
        expect(client.poll.data).to eq(["still here"])
        refuse([403, {}, []])
        expect(client.poll(headers: { "x-owner" => owner }).status).to eq(403)
        event(:close, client)
        refuse(nil)
      end
    ensure
      refuse(nil)
    end

    it "can have a String, a Symbol or an Integer as its owner; false means none" do
      [[":u7", '"u7"'], ["7", '"7"'], ["false", "nil"]].each do |first, second|
        client = polling(channel, headers: { "x-owner" => first })
        answer = client.poll(wait: 0, headers: { "x-owner" => second })
        expect([answer.status, answer.events]).to eq([200, []])
        expect(ask(client, "client.env.key?('push_server.session_owner')")).to be(false)
      end
    end

    it "is not continued when the app no longer names the owner" do
      client = polling(channel, headers: { "x-owner" => '"u7"' })
      answer = client.poll(headers: { "x-owner" => "nil" })
      expect(answer.events.map(&:event)).to eq(["push.open"])
    end

    it "does not open when the owner is of another class; the client gets 500" do
      client = poller("/#{channel}", headers: { "x-owner" => "Object.new" })
      expect(client.poll.status).to eq(500)
      eventually("the log to say why") { app.output.include?("env['push_server.session_owner'] must be a String") }
      expect(app.events.all(event: "open", id: client.id)).to eq([])
    end

    it "is not continued by a poll with an older ID than its client has sent" do
      client = polling(channel)
      old = client.cursor
      2.times { client.poll(wait: 0) }
      other = poller("/#{channel}", cursor: old)
      expect(other.poll(target: "/#{channel}?#{client.id}").events.map(&:event)).to eq(["push.open"])
      expect(client.poll(wait: 0).events).to eq([])
      expect(app.events.all(event: "close", id: client.id)).to eq([])
    end

    it "ends after the messages that came before the app closed it" do
      client = polling(channel)
      ask(client, "client.write('bye'); PushServer.publish(#{channel.inspect}, 'last'); client.close")
      expect(ask(client, "[client.open?, client.write('late')]")).to eq([false, false])
      answer = client.poll
      expect(answer.data).to match_array(%w[bye last])
      expect(answer.ids.last).to match(/\A\h+-\d+\z/)
      expect(event(:close, client)).to include(code: nil, reason: nil)
      expect(client.poll.events.map(&:event)).to eq(["push.open"])
    end

    it "ends with push.bye when its member is disconnected" do
      client = polling("room-#{name = Serving.next_name}", headers: { "x-member" => name })
      client.poll(wait: 0)
      start_poll(client)
      expect(app.ask("PushServer.disconnect(member: #{name.inspect})")).to eq(1)
      expect(client.answer.events.map(&:event)).to eq(["push.bye"])
      event(:close, client)
    end

    it "tells a disconnected member so last, after what was published before, in the next poll" do
      client = polling("room-#{name = Serving.next_name}", headers: { "x-member" => name })
      client.poll(wait: 0)
      expect(app.ask("PushServer.publish('room-#{name}', 'before'); PushServer.disconnect(member: #{name.inspect})")).to eq(1)
      expect(client.poll.events.map(&:event)).to eq(%w[msg push.bye])
      event(:close, client)
    end
  end

  context "with --poll-linger 1" do
    serve Polling::CONFIG, "--threads", "2", "--poll-linger", "1", "--poll-parameter", "wait_for"

    let(:channel) { "kept-#{Serving.next_name}" }

    it "is closed when no poll comes; a later poll resumes in a new session" do
      client = polling(channel, query: "wait_for=25")
      expect(event(:close, client)).to include(code: nil, reason: nil)
      publish(channel, "1")
      events = client.poll.events
      expect(events.map(&:event)).to eq(%w[push.open msg])
      event(:open, client)
      expect(callbacks(client)).to eq(%i[open close open])
    end

    it "is closed when its waiting poll is lost" do
      ends = [:lose.to_proc, :close.to_proc, ->(client) { client.connection.finish_writing }]
      requests = Transport.protocol == :h1 ? [{}, { "upgrade" => "h2c" }] : [{}]
      clients = requests.product(ends).map do |headers, loss|
        client = polling(channel, query: "wait_for=25", headers: headers)
        loss.call(start_poll(client))
        client
      end
      clients.each { |client| expect_event(:close, client) }
    end

    it "stays open while a poll waits, and while the app handles a poll" do
      client = polling(channel, query: "wait_for=25")
      other = polling(channel, query: "wait_for=25")
      app.ask("$gate = Thread::Queue.new; nil")
      client.ask
      # Without a poll, both would have ended: the other one has.
      event(:close, other)
      app.ask("$gate << true; $gate = nil")
      publish(channel, "1")
      expect(client.answer.data).to eq(["1"])
      expect(callbacks(client)).to eq([:open])
      expect(client.poll(target: "/#{channel}?wait_for=1.5&#{client.id[/c\d+\z/]}").events).to eq([])
      publish(channel, "2")
      expect(client.poll.data).to eq(["2"])
    end
  end

  context "with low limits" do
    serve Polling::CONFIG, "--threads", "1", "--max-connections", "4", "--max-poll-wait", "0.05", "--slow-bytes", "1000",
          "--slow-timeout", "0.1", "--max-queued-bytes", "5000"

    it "lets a poll wait no longer than max_poll_wait" do
      client = polling("kept-wait")
      expect(client.poll(wait: 3600).events).to eq([])
    end

    it "ends first if it has had no poll for the longest time when there are too many" do
      clients = Array.new(5) do |number|
        client = polling("kept-#{number}")
        client.close
        client
      end
      event(:close, clients.first)
      expect(clients.drop(1).map { |client| callbacks(client) }).to all(eq([:open]))
    end

    it "is closed when too much is queued for it, written or published" do
      client = polling("kept-slow")
      expect(ask(client, "Array.new(3) { client.write('x' * 3000) }")).to eq([true, false, false])
      event(:close, client)
      client = polling("kept-slow")
      publish("kept-slow", "x" * 3000)
      event(:close, client)
      expect(client.poll.events.map { |it| [it.event, it.data.size] }.last).to eq(["msg", 3000])
    end
  end

  context "when the server stops" do
    before { start_app(Polling::CONFIG, "--poll-linger", "3600", "--access-log", "common", "--access-log-file", "access.log") }

    it "answers its waiting poll, ends without further polls, and has a log line for each poll" do
      waiting = polling("kept")
      left = polling("kept")
      start_poll(waiting)
      app.signal("TERM")
      expect(waiting.answer.ids.last).to match(/\A\h+-\d+\z/)
      dir = app.dir
      [waiting, left].each { |client| event(:close, client) }
      lines = eventually("three lines") { File.readlines(File.join(dir, "access.log")).then { |all| all if all.size >= 3 } }
      expect(app.wait).to be_success
      [waiting, left].each { |client| expect(callbacks(client)).to eq(%i[open shutdown close]) }
      expect(lines.size).to eq(3)
      expect(lines).to all(match(%r{"GET /kept\?push_wait=25&c\d+ HTTP/#{Transport.protocol == :h1 ? "1.1" : "2.0"}" 200 \d+$}))
    end
  end
end
