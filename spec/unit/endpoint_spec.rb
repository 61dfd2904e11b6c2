# frozen_string_literal: true

require "open3"
require "rbconfig"
require "tmpdir"
require_relative "unit_helper"
require_relative "../support/certificate_authority"

RSpec.describe PushServer::Endpoint do
  after { @listeners&.each(&:retire) }

  def parse(url, port: 0) = described_class.parse(url, port: port)

  def opened(url, **options)
    listeners = parse(url, **options).open
    (@listeners ||= []).concat(listeners)
    listeners
  end

  def open_sockets
    ObjectSpace.each_object(Socket).reject do |socket|
      socket.closed?
    rescue IOError # It was never opened: Socket.new has raised.
      true
    end
  end

  def expect_refusal(url, reason)
    before = open_sockets
    expect { opened(url) }.to raise_error(PushServer::BindError, reason)
    expect(open_sockets - before).to be_empty
  end

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

  describe "unix://" do
    around { |example| Dir.mktmpdir { |dir| (@dir = dir) && example.run } }

    attr_reader :dir

    def path(name = "s") = File.join(dir, name)

    def expect_connection = expect(Addrinfo.unix(path).connect(&:closed?)).to be(false)

    def outcome
      yield
      "open"
    rescue PushServer::BindError => e
      e.message[/in use/]
    end

    # The file of a server that was killed.
    def leave_stale_file
      socket = Socket.new(:UNIX, :STREAM)
      socket.bind(Addrinfo.unix(path))
      socket.listen(1)
      socket.close
    end

    it "listens at the path, and its env has Puma's name and port" do
      listener, = opened("unix://#{path}")
      expect_connection
      expect(listener).to have_attributes(url: "unix://#{path}", server_name: "localhost", server_port: "80", scheme: "http")
      expect(listener.socket).to be_close_on_exec
      expect(parse("unix://#{path}?mode=0600").to_s).to eq("unix://#{path}")
    end

    it "gives the file its mode before a client can connect, and leaves the umask alone" do
      modes = []
      allow_any_instance_of(Socket).to receive(:listen).and_wrap_original do |original, *arguments|
        modes << (File.stat(path).mode & 0o777)
        original.call(*arguments)
      end
      umask = File.umask
      { "0660" => 0o660, "777" => 0o777, "0600" => 0o600 }.each do |text, mode|
        opened("unix://#{path}?mode=#{text}").each(&:retire)
        expect(modes.last).to eq(mode)
      end
      opened("unix://#{path}")
      expect([modes.last, File.umask]).to eq([0o777 & ~umask, umask])
    end

    it "reads %XX as a byte, and writes it so" do
      opened("unix://#{path("a%2Cb%20%C3%A9%FF")}")
      name = "a,b \u00e9".b + "\xFF".b
      expect(Dir.children(dir).map(&:b)).to eq([name])
      expect(@listeners.first.url).to eq("unix://#{path("a%2Cb%20%C3%A9%FF")}")
    end

    it "refuses a wrong URL, and says what is right" do
      {
        "unix://tmp/x" => /the path is absolute/, "unix:///" => /give unix/, "unix:///a/" => /give unix/, "unix:///a%00b" => /give unix/,
        "unix:///a#b" => /give unix/, "unix://@app" => /abstract sockets are not supported/, "unix:@app" => /abstract sockets/,
        "unix:///x?mode=9" => /mode has three octal digits, such as 0660/, "unix:///x?mode=0888" => /octal/, "unix:///x?mode=" => /octal/,
        "unix:///x?mode=01777" => /octal/, "unix:///x?umask=7" => /it can only have mode=/, "unix:///x?mode=660&x" => /octal/
      }.each do |url, reason|
        expect { parse(url) }.to raise_error(PushServer::OptionError, /\Acannot listen on #{Regexp.escape(url.inspect)}: .+\z/)
        expect { parse(url) }.to raise_error(PushServer::OptionError, reason)
      end
    end

    it "refuses a path that does not fit into the address of a socket" do
      most = Socket.sockaddr_un("/").bytesize - 3
      expect(parse("unix:///#{"x" * (most - 1)}").path.bytesize).to eq(most)
      expect { parse("unix:///#{"x" * most}") }
        .to raise_error(PushServer::OptionError, /the path has #{most + 1} bytes, but a socket's path can have at most #{most}\z/)
    end

    it "refuses such a path also if it comes from an option for a socket" do
      expect { described_class::Unix.new("/#{"x" * 200}").open }
        .to raise_error(PushServer::BindError, /\Acannot listen on .+: the path has 201 bytes/)
    end

    it "takes the place of a server that was killed" do
      leave_stale_file
      opened("unix://#{path}")
      expect_connection
    end

    it "leaves the file of a live server alone" do
      live = UNIXServer.new(path)
      expect_refusal("unix://#{path}", /\Acannot listen on \S+: the socket #{path} is in use by another process\z/)
      expect_connection
      live.close
    end

    it "leaves the file of a live server alone also while its backlog is full" do
      live = Socket.new(:UNIX, :STREAM)
      live.bind(Addrinfo.unix(path))
      live.listen(0)
      clients = [Addrinfo.unix(path).connect]
      expect_refusal("unix://#{path}", /in use by another process/)
      expect(File.socket?(path)).to be(true)
    ensure
      [*clients, live].each(&:close)
    end

    it "leaves a socket alone to which it may not connect" do
      live = UNIXServer.new(path)
      allow_any_instance_of(Socket).to receive(:connect_nonblock).and_raise(Errno::EACCES)
      expect_refusal("unix://#{path}", /the socket #{path} may be in use, and this user may not connect to it\z/)
      expect_connection
      live.close
    end

    it "leaves a file alone that is not a socket that it could have made" do
      File.write(path, "text")
      expect_refusal("unix://#{path}", /there is a file of that name that is not a socket\z/)
      expect(File.read(path)).to eq("text")
      File.symlink("/nowhere", path("link"))
      expect_refusal("unix://#{path("link")}", /not a socket/)
      datagrams = Socket.new(:UNIX, :DGRAM).tap { |socket| socket.bind(Addrinfo.unix(path("d"))) }
      expect_refusal("unix://#{path("d")}", /in use by another process/)
      datagrams.close
    end

    it "says that there is no folder" do
      expect_refusal("unix://#{dir}/none/s", %r{there is no folder #{dir}/none\z})
      File.write(path, "")
      expect_refusal("unix://#{path}/s", /there is no folder #{path}\z/)
    end

    it "says that it may not make a file there" do
      allow_any_instance_of(Socket).to receive(:bind).and_raise(Errno::EACCES)
      expect_refusal("unix://#{path}", /this user may not open the folder #{dir} and make a file in it\z/)
    end

    it "leaves no file behind when it fails after it has made one" do
      allow_any_instance_of(Socket).to receive(:listen).and_raise(Errno::ENOBUFS)
      expect_refusal("unix://#{path}", /No buffer space/)
      expect(Dir.children(dir)).to eq([])
    end

    it "waits while another server looks at the file, and makes its own" do
      folder = File.open(dir)
      folder.flock(File::LOCK_EX)
      opening = Thread.new { opened("unix://#{path}") }
      eventually { opening.stop? }
      expect(File.exist?(path)).to be(false)
      folder.close
      expect(opening.value.size).to eq(1)
    end

    it "lets one of two servers win that start on a stale file at the same moment" do
      leave_stale_file
      results = Array.new(8) { Thread.new { outcome { opened("unix://#{path}") } } }.map(&:value)
      expect(results.tally).to eq("open" => 1, "in use" => 7)
      expect_connection
    end

    it "listens in a folder that it may write but not read" do
      File.chmod(0o333, dir)
      pid = fork do
        Process::Sys.setuid(65_534) if Process.uid.zero? # root may read all folders
        exit!(parse("unix://#{path}").open.size == 1)
      ensure
        exit!(false)
      end
      expect(Process.wait2(pid).last).to be_success
    ensure
      File.chmod(0o700, dir)
    end

    it "listens in a folder that cannot be locked" do
      allow_any_instance_of(File).to receive(:flock).and_raise(Errno::ENOLCK)
      opened("unix://#{path}")
      expect_connection
    end

    describe "when it is retired" do
      it "removes the file, once" do
        listener, = opened("unix://#{path}")
        listener.retire
        expect([File.exist?(path), listener.socket.closed?]).to eq([false, true])
        File.write(path, "of somebody else")
        listener.retire
        expect(File.exist?(path)).to be(true)
      end

      it "leaves the file of another server alone" do
        listener, = opened("unix://#{path}")
        File.unlink(path)
        other = UNIXServer.new(path)
        listener.retire
        expect_connection
        other.close
      end

      it "leaves the file to the process that has made it" do
        listener, = opened("unix://#{path}")
        Process.wait(fork { listener.retire && exit! })
        expect_connection
      end

      it "logs that it cannot remove the file" do
        listener, = opened("unix://#{path}")
        allow(File).to receive(:unlink).and_raise(Errno::EACCES)
        allow(PushServer).to receive(:log)
        listener.retire
        expect(PushServer).to have_received(:log).with(:warn, /cannot remove the socket's file: Permission denied/)
      end
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
