# frozen_string_literal: true

require "spec_helper"

RSpec.describe "A restart of a server in a single process with other endpoints" do
  program = <<~RUBY
    require "push_server"
    require "spec_app"
    PushServer.run(->(_env) { [200, {}, ["one"]] }, bind: File.read("binds").split, environment: "test")
  RUBY

  before do
    @places = Array.new(2) { TCPServer.open("127.0.0.1", 0) { |server| server.local_address.ip_port } }
    start_app(program, via: :ruby, files: { "binds" => "tcp://127.0.0.1:#{@places.first}" })
  end

  def listen_on(*ports) = File.write("#{app.dir}/binds", ports.map { |port| "tcp://127.0.0.1:#{port}" }.join(" "))

  # A connection in the backlog of a socket that is closed is reset.
  def answers?(port)
    client = HttpClient.new(Addrinfo.tcp("127.0.0.1", port))
    client.get("/", { "connection" => "close" }).body == "one"
  rescue Errno::ECONNREFUSED, RawConnection::Ended
    false
  ensure
    client&.close
  end

  it "opens new ones and closes those that are gone" do
    listen_on(*@places)
    app.signal("USR2")
    expect_eventually("the second port to answer", seconds: 60) { answers?(@places.last) }
    expect(answers?(@places.first)).to be(true)
    listen_on(@places.last)
    app.signal("USR2")
    expect_eventually("the first port to refuse", seconds: 60) { !answers?(@places.first) }
    expect(answers?(@places.last)).to be(true)
    expect(app.wait_for_line(%r{no longer listening on http://127\.0\.0\.1:#{@places.first}$})).to be_truthy
  end

  it "changes nothing if a port is taken, and keeps none of the others" do
    free = TCPServer.open("127.0.0.1", 0) { |server| server.local_address.ip_port }
    taken = TCPServer.new("127.0.0.1", @places.last)
    listen_on(@places.first, free, @places.last)
    app.signal("USR2")
    expect(app.wait_for_line(/not restarted/, seconds: 60))
      .to include("cannot listen on tcp://127.0.0.1:#{@places.last}: the port is in use", "Nothing has changed")
    expect([@places.first, free].map { |port| answers?(port) }).to eq([true, false])
  ensure
    taken&.close
  end
end
