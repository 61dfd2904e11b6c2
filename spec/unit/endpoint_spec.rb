# frozen_string_literal: true

require "open3"
require "rbconfig"
require "tmpdir"
require_relative "unit_helper"
require_relative "../support/certificate_authority"
require_relative "../support/endpoints"

RSpec.describe PushServer::Endpoint do
  include Endpoints

  after { retire_endpoints }

  it "refuses an unknown URL, in one line that names the known ones" do
    ["http://x", "x:1", "", "tcp", "tls://a:1", "/tmp/x"].each do |url|
      expect { parse(url) }.to raise_error(PushServer::OptionError, %r{\Acannot listen on #{Regexp.escape(url.inspect)}: give tcp://.+\z})
    end
  end

  describe "tcp://" do
    ipv6 = Socket.ip_address_list.any?(&:ipv6_loopback?)

    it "refuses what is not a host and a port" do
      %w[tcp:// tcp://:80 tcp://a:b tcp://a:70000 tcp://::1:80 tcp://[zz]:80].each do |url|
        expect { parse(url) }.to raise_error(PushServer::OptionError, /\Acannot listen on #{Regexp.escape(url.inspect)}: .+\z/)
      end
    end

    it "takes the port from elsewhere if the URL has none" do
      expect(parse("tcp://a", port: 7).to_s).to eq("tcp://a:7")
      expect(parse("tcp://[::1]", port: 7).to_s).to eq("tcp://[::1]:7")
    end

    it "names the port that the system has chosen" do
      listener, = opened("tcp://127.0.0.1:0")
      expect(parse("tcp://127.0.0.1:0").bound_to([listener]).to_s).to eq("tcp://127.0.0.1:#{listener.port}")
    end

    it "gives localhost both families on one port", if: ipv6 do
      listeners = opened("tcp://localhost:0")
      expect(listeners.map { |listener| listener.socket.local_address.ip_address }).to eq(%w[127.0.0.1 ::1])
      expect(listeners.map(&:url).uniq).to eq(["http://localhost:#{listeners.first.port}"])
    end

    it "finds another free port if the first one is in use in the other family", if: ipv6 do
      taken = Array.new(200) { TCPServer.new("::1", 0) }
      expect(opened("tcp://localhost:0").size).to eq(2)
    ensure
      taken.each(&:close)
    end

    it "listens on every address of both families", if: ipv6 do
      %w[tcp://*:0 tcp://[::]:0].each do |url|
        listeners = opened(url)
        expect(listeners.map { |listener| listener.socket.local_address.ip_address }).to eq(%w[0.0.0.0 ::])
        expect(listeners.map(&:server_name)).to eq(%w[localhost localhost])
      end
    end

    it "listens on one family if there is no other" do
      allow(Socket).to receive(:new).and_wrap_original do |original, family, *rest|
        raise Errno::EAFNOSUPPORT if family == Socket::AF_INET6

        original.call(family, *rest)
      end
      expect(opened("tcp://localhost:0").size).to eq(1)
      expect_refusal("tcp://[::1]:0", /does not have the address ::1/)
    end

    it "names IPv6 addresses as a URL does", if: ipv6 do
      expect(opened("tcp://[::1]:0").first).to have_attributes(url: %r{\Ahttp://\[::1\]:\d+\z}, server_name: "[::1]")
    end

    it "keeps its sockets from programs that the app runs" do
      expect(opened("tcp://127.0.0.1:0").first.socket).to be_close_on_exec
    end

    it "says that a port is in use" do
      taken = TCPServer.new("127.0.0.1", 0)
      port = taken.local_address.ip_port
      expect_refusal("tcp://127.0.0.1:#{port}", %r{\Acannot listen on tcp://127.0.0.1:#{port}: the port is in use.+--port})
    ensure
      taken.close
    end

    it "says that a port is in use also if only the other family of localhost is", if: ipv6 do
      taken = TCPServer.new("::1", 0)
      expect_refusal("tcp://localhost:#{taken.local_address.ip_port}", /the port is in use/)
    ensure
      taken.close
    end

    it "says that an address is not this machine's" do
      expect_refusal("tcp://192.0.2.1:0", /does not have the address 192.0.2.1/)
    end

    it "says that a name is unknown" do
      expect_refusal("tcp://name.invalid:0", /no host of that name/)
    end

    it "says that a port is reserved" do
      allow_any_instance_of(Socket).to receive(:bind).and_raise(Errno::EACCES)
      expect_refusal("tcp://127.0.0.1:80", /reserves ports below 1024/)
    end
  end

  describe "ssl://" do
    certificate = CertificateAuthority.localhost

    it "is known by its host and port, with the port that the system has chosen" do
      endpoint = parse("ssl://127.0.0.1:0?#{certificate.query}")
      expect(endpoint.to_s).to eq("ssl://127.0.0.1:0")
      binder = PushServer::Binder.new
      url = binder.add(endpoint)
      listener = binder.listeners.first
      expect(url).to eq("ssl://127.0.0.1:#{listener.port}")
      expect([listener.url, listener.scheme]).to eq(["https://127.0.0.1:#{listener.port}", "https"])
      expect(listener.tls[:certificates].first.first.first).to eq(certificate.cert)
    ensure
      binder&.retire_all
    end

    known = "give cert, key, ca or verify_mode"
    {
      "" => "give ssl://host:port?cert=PATH&key=PATH, or let the server make a certificate with --tls-self-signed",
      "cert=a" => "each cert needs its key, and it has 1 cert and 0 key. In a shell, put the URL in quotes",
      "key=a" => "each cert needs its key, and it has 0 cert and 1 key. In a shell, put the URL in quotes",
      "cert=a&key=b&key=c" => "each cert needs its key, and it has 1 cert and 2 key. In a shell, put the URL in quotes",
      "cert=a&key=b&reuse=true" => "there is no parameter reuse: #{known}",
      "cert=a&key=b&no_tlsv1=false" => "there is no parameter no_tlsv1: #{known}",
      "cert_pem=a&key_pem=b" => "there is no parameter cert_pem: write it to a file, and give the path as cert",
      "cert=&key=b" => "cert needs a value",
      "cert" => "cert needs a value",
      "cert=a&key=b&ca=c&verify_mode=x" => 'verify_mode cannot be "x": give none, peer or force_peer',
      "cert=a&key=b&ca=c&ca=d&verify_mode=peer" => "it has more than one ca",
      "cert=a&key=b&ca=c&verify_mode=peer&verify_mode=none" => "it has more than one verify_mode"
    }.each do |query, reason|
      it "refuses #{query.inspect}, and does not repeat what may be a secret" do
        expect { parse("ssl://a:1?#{query}") }.to raise_error(PushServer::OptionError, "cannot listen on \"ssl://a:1\": #{reason}")
      end
    end

    it "is what a tcp:// URL with a certificate should be" do
      expect { parse("tcp://a:1?cert=a&key=b") }.to raise_error(PushServer::OptionError, /: give ssl:..host:port.cert=PATH&key=PATH\z/)
    end

    it "is a place of its own only if no other endpoint of the server has the address" do
      binder = PushServer::Binder.new
      url = binder.add(parse("ssl://127.0.0.1:0?#{certificate.query}"))
      again = "cannot listen on #{url}: this server listens there already. One URL can have several pairs of cert and key"
      expect { binder.add(parse("#{url}?#{certificate.query}")) }.to raise_error(PushServer::BindError, again)
      plain = url.sub("ssl", "tcp")
      expect { binder.add(parse(plain)) }
        .to raise_error(PushServer::BindError, "cannot listen on #{plain}: this server listens there already, as #{url}")
    ensure
      binder&.retire_all
    end

    it "is missing, and that is logged, if tls_self_signed concerns no endpoint" do
      allow(PushServer).to receive(:log)
      options = PushServer::Options.new({ tls_self_signed: true, port: 0 }, env: {})
      expect(described_class.all(%w[tcp://a:1 unix:///a], options).size).to eq(2)
      expect(PushServer).to have_received(:log).once.with(:warn, /\Atls_self_signed: has no effect: .*no ssl/)
      described_class.all(%w[tcp://a:1 ssl://a:2], options)
      expect(PushServer).to have_received(:log).once
    end

    it "takes what Puma's users write, paths in which something is escaped, and no certificate with tls_self_signed" do
      expect(parse("ssl://a:1?cert=/a%26b%2Cc.pem&key=k&no_tlsv1=true").to_s).to eq("ssl://a:1")
      expect(PushServer::Endpoint.parse("ssl://a:1", port: 0, self_signed: true).certificates).to be_a(PushServer::SelfSigned)
    end

    it "leaves no socket open if a certificate cannot be used" do
      before = open_sockets
      expect { PushServer::Binder.new.add(parse("ssl://127.0.0.1:0?cert=/nowhere&key=/nowhere")) }
        .to raise_error(PushServer::BindError, %r{\Acannot listen on ssl://127.0.0.1:0: cannot read /nowhere: No such file or directory\z})
      expect(open_sockets - before).to be_empty
    end
  end

  describe "fd://" do
    # What a process prints that has inherited these descriptors and opens fd://9.
    def inherited(descriptors)
      script = <<~RUBY
        require "push_server"
        begin
          listener = PushServer::Endpoint.parse("fd://9", port: 0).open.first
          puts listener.url, listener.server_name, listener.server_port, listener.socket.close_on_exec?
        rescue PushServer::Error => e
          puts e.message
        end
      RUBY
      output, = Open3.capture2e(RbConfig.ruby, "-I", File.expand_path("../../lib", __dir__), "-e", script, descriptors)
      output.lines(chomp: true)
    end

    it "takes over an inherited TCP socket" do
      socket = TCPServer.new("127.0.0.1", 0)
      port = socket.local_address.ip_port
      expect(inherited(9 => socket)).to eq(["http://127.0.0.1:#{port}", "127.0.0.1", port.to_s, "true"])
      socket.close
    end

    it "takes over an inherited Unix socket, and leaves its file to the process that has made it" do
      Dir.mktmpdir do |dir|
        socket = UNIXServer.new("#{dir}/s")
        expect(inherited(9 => socket)).to eq(["unix://#{dir}/s", "localhost", "80", "true"])
        adopted = described_class.parse("fd://#{socket.fileno}", port: 0).open.first
        adopted.socket.autoclose = false
        adopted.retire
        expect(File.socket?("#{dir}/s")).to be(true)
      end
    end

    it "refuses what is not a listening stream socket, in one line" do
      bound = Socket.new(:INET, :STREAM).tap { |socket| socket.bind(Addrinfo.tcp("127.0.0.1", 0)) }
      datagrams = UDPSocket.new
      reader, writer = IO.pipe
      expect(inherited({})).to eq(["cannot listen on fd://9: this process has not inherited a socket of that number"])
      expect(inherited(9 => reader)).to eq(["cannot listen on fd://9: this process has not inherited a socket of that number"])
      [bound, datagrams].each do |socket|
        expect(inherited(9 => socket)).to eq(["cannot listen on fd://9: it is not a stream socket that listens"])
      end
    ensure
      [bound, datagrams, reader, writer].each(&:close)
    end

    it "leaves a descriptor alone that it refuses" do
      reader, writer = IO.pipe
      expect_refusal("fd://#{reader.fileno}", /not inherited/)
      GC.start
      writer.write("x")
      expect(reader.readpartial(1)).to eq("x")
      expect { parse("fd://x/y") }.to raise_error(PushServer::OptionError, /the number of a file descriptor/)
    end
  end
end
