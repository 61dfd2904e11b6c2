# frozen_string_literal: true

require_relative "unit_helper"

RSpec.describe PushServer::Binder do
  def bound(*urls, port: 0)
    binder = described_class.new(urls, port: port).bind
    (@binders ||= []) << binder
    binder
  end

  after { @binders&.each(&:close) }

  def open_sockets = ObjectSpace.each_object(Socket).reject(&:closed?)

  ipv6 = Socket.ip_address_list.any?(&:ipv6_loopback?)

  it "listens, and says where" do
    binder = bound("tcp://127.0.0.1:0")
    listener = binder.listeners.first
    expect(binder.urls).to eq(["http://127.0.0.1:#{listener.port}"])
    expect(Socket.tcp("127.0.0.1", listener.port, &:closed?)).to be(false)
  end

  it "takes the port from elsewhere where the URL has none" do
    expect(bound("tcp://127.0.0.1").listeners.first.port).to be_positive
  end

  it "gives localhost both families on one port", if: ipv6 do
    binder = bound("tcp://localhost:0")
    expect(binder.listeners.map(&:address)).to eq(%w[127.0.0.1 ::1])
    expect(binder.listeners.map(&:port).uniq.size).to eq(1)
    expect(binder.urls).to eq(["http://localhost:#{binder.listeners.first.port}"])
  end

  it "finds another free port when the first is taken in the other family", if: ipv6 do
    taken = Array.new(200) { TCPServer.new("::1", 0) }
    expect(bound("tcp://localhost:0").listeners.size).to eq(2)
  ensure
    taken.each(&:close)
  end

  it "listens on every address of both families", if: ipv6 do
    %w[tcp://*:0 tcp://[::]:0].each do |url|
      expect(bound(url).listeners.map(&:address)).to eq(%w[0.0.0.0 ::])
    end
  end

  it "makes do with one family" do
    allow(Socket).to receive(:new).and_wrap_original do |original, family, *rest|
      raise Errno::EAFNOSUPPORT if family == Socket::AF_INET6

      original.call(family, *rest)
    end
    expect(bound("tcp://localhost:0").listeners.map(&:address)).to eq(%w[127.0.0.1])
    expect { bound("tcp://[::1]:0") }.to raise_error(PushServer::BindError, /does not have the address ::1/)
  end

  it "names IPv6 addresses as a URL does", if: ipv6 do
    expect(bound("tcp://[::1]:0").listeners.first.name).to eq("[::1]")
  end

  it "keeps its sockets from programs the app runs" do
    expect(bound("tcp://127.0.0.1:0").listeners.first.socket).to be_close_on_exec
  end

  describe "errors" do
    it "refuses what is no URL of a host and a port" do
      %w[http://x x:1 tcp:// tcp://:80 tcp://a:b tcp://a:70000 tcp://::1:80 tcp://[zz]:80 unix:///tmp/x].each do |url|
        expect { described_class.new([url]) }
          .to raise_error(PushServer::OptionError, /\Acannot listen on #{Regexp.escape(url.inspect)}: .+\z/)
      end
    end

    it "says that a port is in use, and leaves nothing open" do
      taken = TCPServer.new("127.0.0.1", 0)
      port = taken.local_address.ip_port
      before = open_sockets
      expect { bound("tcp://127.0.0.1:0", "tcp://127.0.0.1:#{port}") }
        .to raise_error(PushServer::BindError, /\Acannot listen on tcp:\/\/127.0.0.1:#{port}: the port is in use.+--port/)
      expect(open_sockets - before).to be_empty
    ensure
      taken.close
    end

    it "says so also when only the other half of localhost is in use", if: ipv6 do
      taken = TCPServer.new("::1", 0)
      before = open_sockets
      expect { bound("tcp://localhost:#{taken.local_address.ip_port}") }
        .to raise_error(PushServer::BindError, /the port is in use/)
      expect(open_sockets - before).to be_empty
    ensure
      taken.close
    end

    it "says that an address is not this machine's" do
      expect { bound("tcp://192.0.2.1:0") }.to raise_error(PushServer::BindError, /does not have the address 192.0.2.1/)
    end

    it "says that a name is unknown" do
      expect { bound("tcp://name.invalid:0") }.to raise_error(PushServer::BindError, /no host of that name/)
    end

    it "says that a port is reserved" do
      allow_any_instance_of(Socket).to receive(:bind).and_raise(Errno::EACCES)
      expect { bound("tcp://127.0.0.1:80") }.to raise_error(PushServer::BindError, /reserves ports below 1024/)
    end
  end
end
