# frozen_string_literal: true

require "tmpdir"
require_relative "unit_helper"

RSpec.describe PushServer::Pidfile do
  around do |example|
    Dir.mktmpdir { |dir| example.metadata[:dir] = dir and example.run }
  end

  let(:path) { |example| File.join(example.metadata[:dir], "server.pid") }
  let(:pidfile) { described_class.new(path) }

  # A process that waits until the block has returned.
  def other_process
    pid = fork { sleep }
    yield pid
  ensure
    Process.kill("KILL", pid)
    Process.wait(pid)
  end

  it "has the pid of this process from writing to removing, and nothing beside it is left" do
    pidfile.write
    expect(File.read(path)).to eq("#{Process.pid}\n")
    expect(Dir.children(File.dirname(path))).to eq(["server.pid"])
    pidfile.remove
    expect(Dir.children(File.dirname(path))).to eq([])
    pidfile.remove
  end

  it "is not taken from a process that runs" do
    other_process do |pid|
      File.write(path, "#{pid}\n")
      expect { pidfile.check }.to raise_error(PushServer::Error, /\Athe pidfile #{path} names process #{pid}, which runs: stop it/)
      expect { pidfile.write }.to raise_error(PushServer::Error, /which runs/)
      expect(File.read(path)).to eq("#{pid}\n")
      pidfile.remove
      expect(File.read(path)).to eq("#{pid}\n")
    end
  end

  it "is taken from a process that is gone, or whose pid another process has got since" do
    gone = fork { exit! }
    Process.wait(gone)
    File.write(path, gone.to_s)
    pidfile.write
    expect(pidfile.pid).to eq(Process.pid)

    other_process do |pid|
      File.write(path, pid.to_s)
      File.utime(Time.now - 3600, Time.now - 3600, path)
      pidfile.write
      expect(pidfile.pid).to eq(Process.pid)
    end
  end

  ["", "\n", "pid\n", "0", "-1", "99999999999999999999", "12 34"].each do |text|
    it "is taken over if there is no pid in it: #{text.inspect}" do
      File.write(path, text)
      pidfile.write
      expect(pidfile.pid).to eq(Process.pid)
    end
  end

  it "is never seen empty or without its number while it is written again" do
    pidfile.write
    reader = Thread.new { Array.new(200) { File.read(path) }.uniq }
    pidfile.write while reader.alive?
    expect(reader.value).to eq(["#{Process.pid}\n"])
  end

  it "is left alone by a forked child, and if another process has put its own there" do
    pidfile.write
    Process.wait(fork { pidfile.remove and exit! })
    expect(pidfile.pid).to eq(Process.pid)
    other = "#{Process.pid + 1}\n"
    File.write(path, other)
    pidfile.remove
    expect(File.read(path)).to eq(other)
  end

  it "says in one line why it cannot be written" do
    expect { described_class.new("/no/such/folder/pid").write }
      .to raise_error(PushServer::Error, %r{\Acannot write the pidfile /no/such/folder/pid: No such file or directory\z})
    Dir.mkdir(path)
    expect { pidfile.write }.to raise_error(PushServer::Error, /\Acannot write the pidfile #{path}: Is a directory\z/)
  end
end
