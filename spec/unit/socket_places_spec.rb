# frozen_string_literal: true

require "fileutils"
require "tmpdir"
require_relative "unit_helper"
require "push_server/process/socket_places"

RSpec.describe PushServer::SocketPlaces do
  around { |example| Dir.mktmpdir { |dir| (@dir = dir) && example.run } }
  before { allow(PushServer).to receive(:log) { |level, line| (@log ||= []) << [level, line] } }
  after { @opened&.each(&:retire) }

  attr_reader :dir, :log

  # A folder of an app, and a runtime directory.
  def app = File.join(dir, "app").tap { |path| FileUtils.mkdir_p(File.join(path, "tmp")) }
  def runtime = File.join(dir, "run").tap { |path| Dir.mkdir(path, 0o700) unless File.directory?(path) }
  def env = { "XDG_RUNTIME_DIR" => runtime }

  def places(folder = app, **options) = described_class.new(folder, env: env, **options)

  def bind(places, kind = :publish)
    listener = places.open(kind)
    (@opened ||= []) << listener
    listener.socket.local_address.unix_path
  end

  def mode(path) = format("%o", File.stat(path).mode & 0o777)

  it "are in the app's tmp/sockets, which is made" do
    expect(bind(places)).to eq("#{app}/tmp/sockets/push_server.publish.sock")
    expect(bind(places, :control)).to eq("#{app}/tmp/sockets/push_server.control.sock")
    expect(log).to be_nil
  end

  it "let only the server's user connect, if no option says otherwise" do
    expect(mode(bind(places))).to eq("600")
    expect(mode(bind(places(publish_mode: 0o666), :control))).to eq("600")
    @opened.each(&:retire)
    expect(mode(bind(places(publish_mode: 0o660)))).to eq("660")
  end

  it "are where the options say, or nowhere" do
    path = File.join(dir, "x.sock")
    expect(bind(places(publish: path))).to eq(path)
    expect(places(publish: nil).open(:publish)).to be_nil
    expect(places(publish: nil).candidates(:publish)).to eq([])
    expect(places(publish: path).candidates(:publish)).to eq([path])
  end

  {
    "the folder has no tmp" => ->(app) { FileUtils.rm_r(File.join(app, "tmp")) },
    "every user may write to tmp" => ->(app) { File.chmod(0o777, File.join(app, "tmp")) },
    "every user may write to tmp/sockets" => lambda { |app|
      Dir.mkdir(File.join(app, "tmp/sockets"))
      File.chmod(0o777, File.join(app, "tmp/sockets"))
    },
    "tmp is a file" => ->(app) { FileUtils.rm_r(File.join(app, "tmp")) && FileUtils.touch(File.join(app, "tmp")) },
    "tmp/sockets is a file" => ->(app) { FileUtils.touch(File.join(app, "tmp/sockets")) }
  }.each do |state, make|
    it "are in the runtime directory if #{state}, where both ends find them, with a line in the log" do
      folder = app
      make.call(folder)
      path = bind(places(folder))
      expect(path).to match(%r{\A#{runtime}/push_server-\h{12}\.publish\.sock\z})
      level = File.exist?("#{folder}/tmp") ? :info : :debug
      expect(log).to contain_exactly([level, %r{\Athe publish socket is #{runtime}/\S+publish.sock, because .+\z}])
      expect(places(folder).connect(:publish)).to be_a(UNIXSocket)
    end
  end

  it "are in the runtime directory if the path has more than 100 bytes, apart from those of other apps" do
    paths = %w[a b].map { |name| bind(places(File.join(dir, name * 100).tap { |path| FileUtils.mkdir_p("#{path}/tmp") })) }
    expect(paths.uniq.size).to eq(2)
    expect(paths).to all(start_with(runtime))
    expect(log).to all(match([:info, /has more than 100 bytes/]))
  end

  it "use a folder of this user in /tmp if there is no runtime directory, and none of another user" do
    shared = File.join(dir, "shared")
    stub_const("PushServer::SocketPlaces::SHARED_FOLDER", shared)
    Dir.mkdir(shared)
    folder = File.join(dir, "no_tmp")
    Dir.mkdir(folder)
    bare = -> { described_class.new(folder, env: {}) }
    path = bind(bare.call)
    expect(path).to start_with("#{shared}/push_server-#{Process.euid}/")
    expect(mode(File.dirname(path))).to eq("700")
    expect(bare.call.connect(:publish)).to be_a(UNIXSocket)
    # A server that systemd has started has no such variable, but a shell of its user has one.
    expect(places(folder).connect(:publish)).to be_a(UNIXSocket)

    File.chmod(0o777, File.dirname(path))
    expect { bare.call.open(:control) }.to raise_error(PushServer::BindError, /others may write to it.+control_socket/)
    expect(bare.call.candidates(:publish).grep(/shared/)).to eq([])
  end

  it "are not taken from a running server, which an error says, but from one that has ended" do
    bind(places)
    expect { places.open(:publish) }.to raise_error(
      PushServer::BindError,
      /\Athere is no publish socket: .+ is in use by another process\. Give this server another place .*publish_socket=off\z/
    )
    @opened.first.socket.close
    expect(bind(places)).to eq("#{app}/tmp/sockets/push_server.publish.sock")
  end

  it "say in one line why there is no server" do
    expect { places.connect(:publish) }.to raise_error(
      PushServer::Error, /\Ano server of #{app} listens on #{app}\S+publish.sock \(there is no such file\)\z/
    )
    bind(places)
    @opened.first.socket.close
    expect { places.connect(:publish) }.to raise_error(PushServer::Error, /the server that made this file has ended/)
    expect { places(publish: "/#{"x" * 200}").connect(:publish) }.to raise_error(PushServer::Error, /too long/)
    expect { places(publish: nil).connect(:publish) }.to raise_error(PushServer::Error, /it is off/)
  end

  describe "for processes without a server" do
    def outside(variable, **more) = described_class.for_outsiders({ "PUSH_SERVER_HUB" => variable, **env, **more })

    it "are those of the current folder" do
      Dir.chdir(app) { bind(places(Dir.pwd)) && expect(outside(nil).connect(:publish)).to(be_a(UNIXSocket)) }
    end

    it "are those that the variable names: a path, a URL, or an app's folder" do
      path = bind(places)
      [path, "unix://#{path}", app].each { |value| expect(outside(value).connect(:publish)).to be_a(UNIXSocket), value }
      expect(outside("#{dir}/nothing").candidates(:publish)).to eq(["#{dir}/nothing"])
    end

    it "follow the folder as it was typed" do
      File.symlink(app, "#{dir}/current")
      Dir.chdir("#{dir}/current") do
        expect(outside(nil, "PWD" => "#{dir}/current").folder).to eq("#{dir}/current")
        expect(outside(nil, "PWD" => dir).folder).to eq(Dir.pwd)
        expect(outside(nil, "PWD" => "#{dir}/gone").folder).to eq(Dir.pwd)
      end
    end
  end
end
