# frozen_string_literal: true

require "tmpdir"
require_relative "unit_helper"

RSpec.describe PushServer::Binder do
  subject(:binder) { described_class.new }

  after { binder.retire_all }

  def add(url) = binder.add(PushServer::Endpoint.parse(url, port: 0))

  def port = binder.listeners.first.port

  it "says what an endpoint is called once it is open, and where people find it" do
    expect(add("tcp://127.0.0.1:0")).to eq("tcp://127.0.0.1:#{port}")
    expect(binder.urls).to eq(["http://127.0.0.1:#{port}"])
    expect(Socket.tcp("127.0.0.1", port, &:closed?)).to be(false)
  end

  it "opens as many endpoints on a free port as it is asked for" do
    expect(Array.new(3) { add("tcp://127.0.0.1:0") }.uniq.size).to eq(3)
  end

  it "opens no endpoint a second time" do
    url = add("tcp://127.0.0.1:0")
    expect { add(url) }.to raise_error(PushServer::BindError, "cannot listen on #{url}: this server listens there already")
    expect(binder.listeners.size).to eq(1)
  end

  it "keeps listeners that are open already" do
    socket = Socket.tcp_server_sockets("127.0.0.1", 0).first
    listener = PushServer::Listener.tcp(socket)
    expect(binder.add(PushServer::Endpoint::Tcp.new("127.0.0.1", 0), [listener])).to eq("tcp://127.0.0.1:#{listener.port}")
    expect(binder.listeners).to eq([listener])
  end

  it "retires one endpoint, and leaves the others alone" do
    urls = Array.new(2) { add("tcp://127.0.0.1:0") }
    address = binder.listeners.first.socket.local_address
    expect(binder.retire(urls.first).size).to eq(1)
    expect { address.connect }.to raise_error(Errno::ECONNREFUSED)
    expect([binder.listeners.size, binder.retire(urls.first)]).to eq([1, nil])
    expect(Socket.tcp("127.0.0.1", port, &:closed?)).to be(false)
  end

  it "closes sockets, and keeps the file of a Unix socket until it is retired" do
    Dir.mktmpdir do |dir|
      url = add("unix://#{dir}/s")
      duplicate = binder.listeners.first.socket.dup
      binder.close
      Addrinfo.unix("#{dir}/s").connect(&:close)
      expect(binder.urls).to eq([url])
      binder.retire(url)
      expect(File.exist?("#{dir}/s")).to be(false)
      duplicate.close
    end
  end
end
