# frozen_string_literal: true

require "tmpdir"
require_relative "unit_helper"
require_relative "../support/endpoints"

RSpec.describe PushServer::Endpoint::Unix do
  include Endpoints

  after { retire_endpoints }

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
    expect { described_class.new("/#{"x" * 200}").open }
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
