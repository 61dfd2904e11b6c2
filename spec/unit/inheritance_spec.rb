# frozen_string_literal: true

require "json"
require "open3"
require "tmpdir"
require_relative "unit_helper"
require "push_server/process/inheritance"

RSpec.describe PushServer::Inheritance do
  around { |example| Dir.mktmpdir { |dir| (@dir = dir) && example.run } }

  def open(url) = PushServer::Endpoint.parse(url, port: 0).open

  # Opens sockets, executes itself anew, and prints what the new program has.
  before_and_after = <<~'RUBY'
    require "push_server"
    require "push_server/process/inheritance"
    if PushServer::ExecVariables.hidden.any?
      sockets = PushServer::Inheritance.current
      places = sockets.places
      ports = [sockets.claim("tcp://127.0.0.1:0"), sockets.claim("tcp://127.0.0.1:0")].map { |all| all.first.port }
      reached = ports.map { |port| TCPSocket.new("127.0.0.1", port).close }
      socket, = sockets.claim("control")
      described = socket.description(file: true)
      there = File.socket?(ARGV.first)
      socket.retire
      puts [Process.pid, ports, places, sockets.claim("tcp://127.0.0.1:0"), sockets.release, described[:url], there,
            File.exist?(ARGV.first), ENV.key?(PushServer::Inheritance::VARIABLE), `ls -l /proc/self/fd`.scan("socket:").size].inspect
    else
      open = ->(url) { PushServer::Endpoint.parse(url, port: 0).open }
      sockets = PushServer::Inheritance.new
      first, second = Array.new(2) { open.call("tcp://127.0.0.1:0") }
      sockets.add("tcp://127.0.0.1:0", first).add("control", open.call("unix://#{ARGV.first}")).add("tcp://127.0.0.1:0", second)
      sockets.add("tcp://localhost:0", open.call("tcp://127.0.0.1:0"))
      puts [Process.pid, [first, second].map { |all| all.first.port }].inspect
      $stdout.flush
      exec(sockets.environment, RbConfig.ruby, $0, *ARGV, sockets.descriptors)
    end
  RUBY

  it "keeps sockets, ports and files over an exec, by the places as they were typed, and in order" do
    file = "#{@dir}/exec.rb"
    File.write(file, before_and_after)
    out, status = Open3.capture2e({ "RUBYLIB" => $LOAD_PATH.join(":") }, RbConfig.ruby, file, "#{@dir}/control.sock")
    before, after = out.lines.map { |line| eval(line) } # rubocop:disable Security/Eval -- printed by the program above
    expect(status).to be_success
    pid, ports, places, missing, released, url, *rest = after
    expect([pid, ports]).to eq(before)
    expect([places, missing]).to eq([["tcp://127.0.0.1:0", "control", "tcp://127.0.0.1:0", "tcp://localhost:0"], nil])
    expect(released).to match([%r{\Ahttp://127\.0\.0\.1:\d+\z}])
    expect(url).to eq("unix://#{@dir}/control.sock")
    # The file was there, the new process has removed it, the variable is gone, and a child inherits no socket.
    expect(rest.take(3)).to eq([true, false, false])
    expect(rest.last).to eq(0)
  end

  it "is empty without the variable, and when the variable was meant for another process" do
    expect(described_class.take({})).to be_empty
    env = { described_class::VARIABLE => JSON.generate(version: 1, pid: Process.pid + 1, sockets: [["control", [{ fd: 4000 }]]]) }
    expect(described_class.take(env)).to be_empty
    expect(env).to be_empty
  end

  {
    "what is no JSON" => ["{", /only for push_server itself/],
    "a version that it does not know" => [{ version: 99, pid: Process.pid, sockets: [] }, /does not know/],
    "a description that lacks something" => [{ version: 1, pid: Process.pid, sockets: [["control", [{ url: "x" }]]] }, /not complete/],
    "a descriptor that is not open" =>
      [{ version: 1, pid: Process.pid, sockets: [["control", [{ fd: 4000, url: "x", server_name: "", server_port: "" }]]] }, /missing/]
  }.each do |what, (value, message)|
    it "refuses #{what}, in one line" do
      text = value.is_a?(String) ? value : JSON.generate(value)
      expect { described_class.take({ described_class::VARIABLE => text }) }.to raise_error(PushServer::Error, message)
    end
  end

  it "leaves the file of a socket alone that another server has put in its place" do
    listener, = open("unix://#{@dir}/s")
    described = JSON.parse(JSON.generate(listener.description(file: true)))
    File.unlink("#{@dir}/s")
    other, = open("unix://#{@dir}/s")
    PushServer::Listener.described(listener.socket, described).retire
    expect(File.socket?("#{@dir}/s")).to be(true)
    other.retire
    expect(File.exist?("#{@dir}/s")).to be(false)
  end
end
