# frozen_string_literal: true

require_relative "unit_helper"
require "fcntl"
require "push_server/process/link"

RSpec.describe PushServer::Link do
  let(:ends) { described_class.pair }
  let(:supervisor) { ends.first }
  let(:child) { ends.last }

  after { ends.each(&:close) }

  it "carries a message with fields in both directions" do
    supervisor.send(:boot, number: 3, name: "grün", list: [1, nil])
    child.send("booted")

    expect(child.receive(5)).to have_attributes(kind: "boot", fields: { number: 3, name: "grün", list: [1, nil] }, ios: [])
    expect(supervisor.receive(5).kind).to eq("booted")
  end

  it "carries descriptors, each with its own message" do
    reader, writer = IO.pipe
    supervisor.send(:plain)
    supervisor.send(:first, fds: [writer])
    supervisor.send(:second, fds: [reader, writer])
    [reader, writer].each(&:close)

    plain, first, second = Array.new(3) { child.receive(5) }
    expect([plain, first, second].map { |message| message.ios.size }).to eq([0, 1, 2])
    first.ios[0].syswrite("hello")
    expect(second.ios[0].readpartial(10)).to eq("hello")
    [first, second].each(&:close)
  end

  it "waits no longer than it is told" do
    expect(supervisor.receive(0)).to be_nil
    expect(child.receive(0.01)).to be_nil
  end

  it "tells that the peer is gone, after what it had sent" do
    child.send(:pong)
    child.close

    expect(supervisor.receive(5).kind).to eq("pong")
    expect(supervisor.receive(5)).to eq(:eof)
    expect(supervisor.send(:ping)).to be(false)
  end

  it "keeps what the peer does not read, and sends it later with its descriptors" do
    sent = 0
    until supervisor.unsent?
      supervisor.send(:fill, text: "x" * 10_000)
      sent += 1
    end
    reader, writer = IO.pipe
    supervisor.send(:last, fds: [writer])
    writer.close

    kinds = []
    until kinds.last == "last"
      message = child.receive(0)
      message ? kinds << message.kind : supervisor.flush
    end
    expect(kinds).to eq((["fill"] * sent) + ["last"])
    message.ios[0].syswrite("hello")
    expect(reader.readpartial(10)).to eq("hello")
    [message, reader].each(&:close)
  end

  it "gives a peer up that never reads" do
    expect { 1000.times { supervisor.send(:fill, text: "x" * 10_000) } }.to raise_error(described_class::Overflow)
  end

  it "says that descriptors cannot be sent, which is no end of the peer, and sends the next message" do
    supervisor.send(:fill, text: "x" * 10_000) until supervisor.unsent?
    reader, writer = IO.pipe
    # No descriptor for a copy, then one for the first of two copies, which must not stay open.
    results = with_descriptors([reader, writer].map(&:fileno).max + 3) do |files|
      errors = Array.new(2) do |round|
        files.pop.close if round == 1
        supervisor.send(:lost, fds: [reader, writer])
      rescue SystemCallError => e
        e.class
      end
      [*errors, open_files.each { |file| files << file }.size]
    end
    expect(results).to eq([Errno::EMFILE, Errno::EMFILE, 1])
    expect(supervisor.send(:last)).to be(true)

    kinds = []
    until kinds.last == "last"
      message = child.receive(0)
      message ? kinds << message.kind : supervisor.flush
    end
    expect(kinds.uniq).to eq(%w[fill last])
    [reader, writer].each(&:close)
  end

  # Opens files until no more may be open.
  def open_files
    files = []
    loop { files << File.open(File::NULL) }
  rescue Errno::EMFILE
    files
  end

  # Runs the block while this process has no free descriptor. The block may close the files that it gets.
  def with_descriptors(limit)
    soft, hard = Process.getrlimit(:NOFILE)
    Process.setrlimit(:NOFILE, limit, hard)
    files = open_files
    yield files
  ensure
    Process.setrlimit(:NOFILE, soft, hard)
    files&.each(&:close)
  end

  it "lets a child wait until the supervisor reads" do
    writing = Thread.new { 100.times { child.send(:fill, text: "x" * 10_000) } }

    expect(Array.new(100) { supervisor.receive(5).kind }.uniq).to eq(["fill"])
    expect(writing.join(5)).to be_truthy
  end

  it "refuses what is no message" do
    ["nonsense\n", "[]\n", "{}\n", "{\"kind\":\"a\",\"fds\":1}\n", "x" * ((1 << 20) + 2)].each do |bytes|
      supervisor, child = described_class.pair
      writing = Thread.new { child.to_io.write(bytes) }
      expect { supervisor.receive(5) }.to raise_error(described_class::Broken), bytes[0, 20]
      [supervisor, child].each(&:close)
      writing.kill
    end
  end

  it "can be handed over with what was neither read nor sent" do
    supervisor.send(:fill, text: "x" * 10_000) until supervisor.unsent?
    reader, writer = IO.pipe
    supervisor.send(:last, fds: [writer])
    child.to_io.send("{\"kind\":\"po", 0)
    expect(supervisor.receive(0)).to be_nil
    number = lambda do |value|
      case value
      when Hash then value.transform_values(&number)
      when Array then value.map(&number)
      else value.is_a?(IO) ? value.fcntl(Fcntl::F_DUPFD) : value
      end
    end
    restored = described_class.restore(number.call(supervisor.handover))
    [supervisor, writer].each(&:close)

    child.to_io.send("ng\"}\n", 0)
    expect(restored.receive(5).kind).to eq("pong")
    until (message = child.receive(0))&.kind == "last"
      restored.flush
    end
    message.ios[0].syswrite("hello")
    expect(reader.readpartial(10)).to eq("hello")
    [message, reader, restored].each(&:close)
  end

  it "leaves no descriptor open" do
    before = Dir.children("/proc/self/fd").size
    reader, writer = IO.pipe
    ends = described_class.pair
    ends.first.send(:fill, text: "x" * 10_000) until ends.first.unsent?
    3.times { ends.first.send(:fds, fds: [reader, writer]) }
    ends.last.receive(5)
    [reader, writer, *ends].each(&:close)

    expect(Dir.children("/proc/self/fd").size).to eq(before)
  end
end
