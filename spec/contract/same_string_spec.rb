# frozen_string_literal: true

require "spec_helper"

# One String that is written to many clients, one after the other. The server encodes it once, and nobody may notice that.
RSpec.describe "A String that is written to many clients" do
  config = <<~'CONFIG'
    require "spec_app"

    run(lambda do |env|
      env["rack.upgrade"] = SpecApp::Recorder.new
      [200, {}, []]
    end)
  CONFIG

  serve config, "--threads", "2", "--websocket-compression"

  kinds = { "a WebSocket" => WebSocketClient, "a compressing WebSocket" => DeflateClient, "an event stream" => SseClient,
            "a WebSocket of push.v1" => PushV1Client }

  # Opened clients, in this order.
  def clients(*kinds)
    kinds.map do |kind|
      id = Serving.next_name
      opened(closing(kind.new(app.address, "/?#{id}", id: id)))
    end
  end

  # Runs code in the app, in which `clients` are these clients.
  def tell(clients, code)
    app.ask("clients = #{clients.map(&:id).inspect}.map { |id| SpecApp.client(id) }\n#{code}")
  end

  def read(client) = client.respond_to?(:read_event) ? client.read_event.data : client.read_message
  def read_all(clients) = clients.map { |client| read(client) }

  # Clients of all kinds, each three times, not side by side.
  let(:crowd) { clients(*Array.new(3) { KINDS }.flatten) }

  before { stub_const("KINDS", kinds.values) }

  ['"short"', '"grüße 😀"', '""', '"a\n\nb\r\nc\rd\n"', '"x" * 200', '"x" * 3000', '"line\n" * 3000', '"x" * 65_536',
   '"x" * 70_000', '"frozen".freeze'].each do |code|
    it "is the same for all kinds of clients: #{code}" do
      text = eval(code) # rubocop:disable Security/Eval
      expect(tell(crowd, "text = #{code}; 3.times.map { clients.map { |client| client.write(text) }.uniq }")).to eq([[true]] * 3)
      # A client of an event stream sees each end of a line as LF.
      lines = text.gsub(/\r\n?/, "\n")
      3.times { crowd.each { |client| expect(read(client)).to eq(client.respond_to?(:read_event) ? lines : text) } }
    end
  end

  it "is sent as it is at the time of each write, however it is changed between" do
    written = tell(crowd, <<~'RUBY')
      text = +"a text that is longer than what Ruby keeps in the object"
      changes = [-> {}, -> { text.setbyte(0, 98) }, -> {}, -> { text << "!" }, -> { text.chop! }, -> { text.replace("other") },
                 -> {}, -> { text.upcase! }, -> { text.clear }, -> { text.prepend("äöü") }, -> { text.squeeze! }, -> {}]
      clients.zip(changes).map do |client, change|
        change.call
        client.write(text)
        text.dup
      end
    RUBY
    expect(written.uniq.size).to eq(7)
    expect(read_all(crowd)).to eq(written)
  end

  it "is sent as another thread has changed it" do
    tell(crowd, <<~'RUBY')
      text, turns, done = +"0" * 100, Queue.new, Queue.new
      other = Thread.new { while (turn = turns.pop) do done << text.replace(turn.to_s * 100) end }
      clients.each_with_index do |client, number|
        client.write(text)
        next unless number.odd?
        turns << (number + 1) / 2
        done.pop
      end
      turns << nil
      other.join
      nil
    RUBY
    expect(read_all(crowd)).to eq(Array.new(12) { |number| (number / 2).to_s * 100 })
  end

  it "is text or bytes by its encoding, although its bytes are the same" do
    all = clients(*[WebSocketClient] * 6)
    tell(all, <<~'RUBY')
      text = +"same bytes"
      %w[UTF-8 UTF-8 BINARY BINARY US-ASCII UTF-8].zip(clients) { |name, client| client.write(text.force_encoding(name)) }
      nil
    RUBY
    frames = all.map(&:read_frame)
    expect(frames.map(&:payload).uniq).to eq(["same bytes"])
    expect(frames.map(&:opcode)).to eq(%i[text text binary binary text text])
  end

  it "is refused once its bytes are no UTF-8 any more" do
    all = clients(*[WebSocketClient] * 3)
    tell(all.first(2), 'clients.each { |client| client.write($text = +"fine") }; nil')
    tell(all.first(2), "clients.each { |client| client.write($text) }; nil")
    expect { tell(all, "$text.setbyte(0, 0xff); clients.each { |client| client.write($text) }") }.to raise_in_app("ArgumentError")
    tell(all, '$text.setbyte(0, "m".ord); clients.each { |client| client.write($text) }; nil')
    expect(all.map { |client| Array.new(client == all.last ? 1 : 3) { read(client) }.last }).to eq(["mine"] * 3)
  end

  it "has the name of an event that each write gives" do
    all = clients(SseClient, PushV1Client, SseClient, PushV1Client, SseClient)
    tell(all, 'names = ["a", "a", "ab", nil, "a"]; 3.times { clients.zip(names) { |client, name| client.write("b", event: name) } }; nil')
    3.times { expect(all.map { |client| client.read_event.event || "message" }).to eq(%w[a a ab message a]) }
    tell(all, '2.times { |n| clients.each { |client| client.write("b", id: n.to_s) } }; nil')
    expect(all.map { |client| Array.new(2) { client.read_event.id } }).to eq([%w[0 1]] * 5)
  end

  it "is not mistaken for one that was collected and whose place has another one", unless: Compaction.missing do
    compaction = Compaction::WAYS.values.first
    tell(crowd, <<~RUBY)
      100.times do |number|
        text = "message \#{number}".ljust(40, "-")
        clients.each { |client| client.write(text) }
        GC.start if number % 10 == 9
        (#{compaction.tr("\n", ";")}) if number % 50 == 49
      end
      nil
    RUBY
    expected = Array.new(100) { |number| "message #{number}".ljust(40, "-") }
    crowd.each { |client| expect(Array.new(100) { read(client) }).to eq(expected) }
  end

  it "counts for each client by itself" do
    ids = Array.new(2) { Serving.next_name }
    slow, fast = ids.map { |id| opened(closing(WebSocketClient.new(app.address, "/?#{id}", id: id, receive_buffer: 4096))) }
    tell([slow, fast], 'text = "x" * 65_000; 100.times { clients.each { |client| client.write(text) } }; nil')
    100.times { fast.read_message }
    eventually("an empty queue") { ask(fast, "client.pending").zero? }
    expect(ask(slow, "client.pending")).to be_between(1, 100)
    event(:drained, fast)
    100.times { expect(slow.read_message.bytesize).to eq(65_000) }
    event(:drained, slow)
    expect(ask(slow, "client.pending")).to eq(0)
  end

  it "stays in its place among publications and before a close" do
    all = clients(*[WebSocketClient] * 4)
    tell(all, <<~'RUBY')
      clients.each { |client| client.subscribe("news") }
      text = "written"
      clients.each { |client| client.write(text) }
      PushServer.publish("news", "published")
      clients.each { |client| client.write(text) }
      clients.each { |client| client.write(text); client.close(1000, "bye"); client.write(text) }
      nil
    RUBY
    all.each do |client|
      messages = Array.new(4) { client.read_message }
      expect(messages.tally).to eq("written" => 3, "published" => 1)
      expect(client.read_close).to eq([1000, "bye"])
    end
  end

  it "is written by nobody in a forked child, and goes on in the parent" do
    all = clients(WebSocketClient, SseClient, PushV1Client)
    done = tell(all, <<~'RUBY')
      text = +"before and after"
      2.times { clients.each { |client| client.write(text) } }
      child = fork { exit!(clients.none? { |client| client.write(text) } && clients.none? { |client| client.write("other") } ? 0 : 1) }
      status = Process.wait2(child).last.exitstatus
      [status, clients.map { |client| client.write(text) }]
    RUBY
    expect(done).to eq([0, [true] * 3])
    expect(all.map { |client| Array.new(3) { read(client) } }).to eq([["before and after"] * 3] * 3)
    expect(tell(all, 'clients.map { |client| client.write("last") }')).to eq([true] * 3)
    expect(read_all(all)).to eq(["last"] * 3)
  end
end
