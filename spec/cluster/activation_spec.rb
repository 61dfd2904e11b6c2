# frozen_string_literal: true

require "spec_helper"

# Sockets that systemd has opened, passed as systemd passes them: from descriptor 3 on, with LISTEN_PID, LISTEN_FDS and
# LISTEN_FDNAMES.
RSpec.describe "Sockets that systemd passes" do
  rackup_file = <<~RUBY
    run(lambda do |env|
      [200, {}, ["variables: ", ENV.keys.grep(/LISTEN/).inspect, `env`.scan("LISTEN_").inspect]]
    end)
  RUBY

  # Becomes the server, as systemd does, with the sockets that the code makes: name => socket.
  activated = lambda do |sockets, *options, pid: "Process.pid"|
    <<~RUBY
      require "socket"
      require "rbconfig"
      File.write("config.ru", #{rackup_file.inspect})
      sockets = #{sockets}
      ports = sockets.map { |_, socket| socket.local_address.ip? ? socket.local_address.ip_port : "-" }
      $stdout.puts "SOCKETS \#{ports.join(" ")}"
      $stdout.flush
      # Their numbers may be taken in this process.
      sockets = sockets.map { |name, socket| [name, IO.for_fd(socket.fcntl(Fcntl::F_DUPFD, 50), autoclose: false)] }
      env = { "LISTEN_PID" => (#{pid}).to_s, "LISTEN_FDS" => sockets.size.to_s, "LISTEN_FDNAMES" => sockets.map(&:first).join(":") }
      options = #{options.inspect}.map { |word| word.sub("PORT", ports.first.to_s) }
      exec(env, RbConfig.ruby, "#{AppProcess::ROOT}/exe/push_server", *options,
           sockets.each_with_index.to_h { |(_, socket), index| [3 + index, socket] })
    RUBY
  end

  tcp = 'TCPServer.new("127.0.0.1", 0)'

  def start(source, **how) = launch_app("require 'fcntl'\n#{source}", via: :ruby, **how)

  def ports = app.wait_for_line(/\ASOCKETS /).split.drop(1).map(&:to_i)

  def ask(port) = closing(HttpClient.new(port)).get("/").body

  modes = { "one process" => [], "workers" => %w[-w 1] }
  modes.each do |mode, switches|
    describe "to #{mode}" do
      it "are served without a bind, and no others are; the app does not see the variables" do
        start(activated.call("[['web', #{tcp}], ['admin', #{tcp}]]", *switches))
        app.wait_for_line(/Ctrl-C/)
        expect(app.output.scan(AppProcess::LISTENING).map { |match| match[3] }).to match_array(ports.map(&:to_s))
        ports.each { |port| expect(ask(port)).to eq("variables: [][]") }
        expect(app.stop).to be_success
      end

      it "are used for a bind of their name, and the others are closed" do
        start(activated.call("[['web', #{tcp}], ['admin', #{tcp}], ['web', #{tcp}]]", "-b", "fd://web", *switches))
        app.wait_for_line(/Ctrl-C/)
        expect(ask(ports[0])).to eq("variables: [][]")
        expect(ask(ports[2])).to eq("variables: [][]")
        expect(app.wait_for_line(/admin/)).to match(%r{warn: .*the socket admin that systemd has passed is closed, because no bind names it: it listens on http://127.0.0.1:#{ports[1]}$})
        expect { Socket.tcp("127.0.0.1", ports[1]).close }.to raise_error(Errno::ECONNREFUSED)
        expect(app.stop).to be_success
      end

      it "are used for a bind of their address" do
        start(activated.call("[['', #{tcp}]]", "-b", "tcp://127.0.0.1:PORT", *switches))
        app.wait_for_line(/Ctrl-C/)
        expect(ask(ports[0])).to eq("variables: [][]")
        expect(app.stop).to be_success
      end
    end
  end

  it "on [::] are for every address of both families", if: Socket.ip_address_list.any?(&:ipv6_loopback?) do
    dual = 'Socket.new(:INET6, :STREAM).tap { |s| s.setsockopt(:IPV6, :V6ONLY, false); s.bind(Addrinfo.tcp("::", 0)); s.listen(9) }'
    %w[0.0.0.0 *].each do |host|
      start(activated.call("[['web', #{dual}]]", "-b", "tcp://#{host}:PORT"))
      app.wait_for_line(/Ctrl-C/)
      expect(ask(Addrinfo.tcp("127.0.0.1", ports[0]))).to eq("variables: [][]")
      expect(ask(Addrinfo.tcp("::1", ports[0]))).to eq("variables: [][]")
      expect(app.stop).to be_success
    end
  end

  it "can be Unix sockets, whose files stay when the server stops" do
    start(activated.call('[["web", UNIXServer.new(File.join(Dir.pwd, "s"))]]'))
    app.wait_for_line(/Ctrl-C/)
    expect(ask(Addrinfo.unix(File.join(app.dir, "s")))).to eq("variables: [][]")
    dir = app.dir
    app.signal("TERM")
    eventually("the server to stop") { !app.running? }
    expect(File.socket?(File.join(dir, "s"))).to be(true)
  end

  it "are not touched if they are for another process" do
    start(activated.call("[['web', #{tcp}]]", "-b", "tcp://127.0.0.1:0", pid: "Process.ppid"))
    app.wait_until_listening
    expect(app.port).not_to eq(ports[0])
    expect(ask(app.port)).to eq("variables: [][]")
  end

  it "stop the server if a name is unknown, or if one is no socket that listens" do
    start(activated.call("[['web', #{tcp}]]", "-b", "fd://wbe"))
    expect(app.wait.exitstatus).to eq(1)
    expect(app.lines.last).to eq("push_server: cannot listen on fd://wbe: systemd has passed no socket of that name\n")
    start(activated.call("[['web', Socket.new(:INET, :STREAM).tap { |s| s.bind(Addrinfo.tcp('127.0.0.1', 0)) }]]", "-b", "fd://web"))
    expect(app.wait.exitstatus).to eq(1)
    expect(app.lines.last).to eq("push_server: cannot listen on fd://web: it is not a stream socket that listens\n")
  end
end
