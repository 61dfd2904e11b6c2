# frozen_string_literal: true

require "open3"
require "push_server/version"
require "tmpdir"

# The gem as users get it: built, installed with only its dependencies, and run in another folder.
RSpec.describe "The gem", :package do
  before(:context) do
    @folder = Dir.mktmpdir("push_server-package")
    @gem_home = File.join(@folder, "gems")
    provide("rackup", "rb_sys")
    gem_file = File.join(@folder, "push_server.gem")
    sh("gem", "build", "--strict", "push_server.gemspec", "--output", gem_file, chdir: AppProcess::ROOT)
    sh("gem", "install", "--local", "--no-document", gem_file, chdir: @folder)
  end

  after(:context) { FileUtils.remove_entry(@folder) }

  # Nothing of the checkout, neither its lib/ nor its gems.
  def environment
    { "GEM_HOME" => @gem_home, "GEM_PATH" => @gem_home, "RUBYLIB" => nil, "RUBYOPT" => nil }
  end

  def sh(*command, chdir:)
    output, status = Open3.capture2e(environment, *command, chdir: chdir)
    raise "#{command.join(" ")} failed:\n#{output}" unless status.success?

    output
  end

  # Copies gems of this run, and their dependencies, into the empty GEM_HOME.
  def provide(*names)
    names.each do |name|
      gem = Gem::Specification.find_by_name(name)
      next if gem.default_gem?

      [[gem.full_gem_path, "gems"], [gem.loaded_from, "specifications"]].each do |source, folder|
        FileUtils.cp_r(source, FileUtils.mkdir_p(File.join(@gem_home, folder)).first)
      end
      provide(*gem.runtime_dependencies.map(&:name))
    end
  end

  # Answers with the pid, and with the files of this library that are loaded.
  pids_and_features = <<~'RUBY'
    run ->(_env) { [200, {}, [Process.pid, *$LOADED_FEATURES.grep(%r{/push_server[/.]})].map { |line| "#{line}\n" }] }
  RUBY

  def command = File.join(@gem_home, "bin/push_server")

  # Waits until this many workers have answered, all with the files of the installed gem alone.
  def expect_workers(count)
    expect_eventually("answers of #{count} workers") do
      answers = Array.new(12) { get("/", { "connection" => "close" }).body.lines(chomp: true) }
      expect(answers.flat_map { |lines| lines.drop(1) }).to all(start_with(File.realpath(@gem_home)))
      answers.map(&:first).uniq.size == count
    end
  end

  # Starts the words in a folder that has nothing but a config.ru and these files.
  define_method(:start_in_another_folder) do |*words, files: {}|
    start_app("exec(*#{words.inspect})", via: :ruby, env: environment,
                                         files: { "config.ru" => pids_and_features, "tmp/.keep" => "", **files })
    app.wait_for_line(/All 2 workers serve/)
  end

  it "serves with rackup" do
    start_app(pids_and_features, "-s", "push_server", via: :rackup, env: environment)
    response = HttpClient.new(app.port).get("/")

    expect(response.status).to eq(200)
    expect(response.body.lines).to include(end_with("/push_server.so\n").or(end_with("/push_server.bundle\n")))
    expect(response.body.lines.drop(1)).to all(start_with(File.realpath(@gem_home)))
    expect(app.stop).to be_success
  end

  it "has a command" do
    version = sh(command, "--version", chdir: @folder)

    expect(version).to eq("push_server #{PushServer::VERSION}\n")
    expect(sh(command, "--help", chdir: @folder)).to include("--workers")
  end

  it "has the unit files for systemd, beside the page that names them" do
    docs = File.join(@gem_home, "gems/push_server-#{PushServer::VERSION}/docs")

    expect(Dir.children(File.join(docs, "systemd"))).to contain_exactly("push_server.service", "push_server.socket")
    expect(File.read(File.join(docs, "deployment.md"))).to include("(systemd)")
  end

  it "serves with several processes, which its commands restart and stop", transport: :tcp do
    start_in_another_folder(command, "-b", "tcp://127.0.0.1:0", files: { "config/push_server.rb" => "workers 2" })
    expect_workers(2)
    expect(sh(command, "--check", chdir: app.dir)).to match(%r{^  workers +2 +config/push_server.rb:1$})
    expect(sh(command, "status", chdir: app.dir)).to include("worker 1", "worker 2")
    %w[phased-restart restart].each do |restart|
      before = app.tree.workers.map(&:pid)
      sh(command, restart, chdir: app.dir)
      expect(app.tree.workers.map(&:pid) & before).to eq([])
      expect_workers(2)
    end
    sh(command, "stop", chdir: app.dir)
    expect(app.wait).to be_success
  end

  it "takes the place of rackup to serve with several processes", transport: :tcp do
    start_in_another_folder(RbConfig.ruby, AppProcess.rackup, "-s", "push_server", "-O", "Workers=2", "-o", "127.0.0.1", "-p", "0")
    expect_workers(2)
    app.signal("USR1")
    expect_line(/the phased restart is done/)
    expect_workers(2)
    expect(app.stop).to be_success
  end

  it "publishes to a server from a script in the same folder", transport: :tcp do
    app_source = "PushServer.channel('news', history: 1)\nrun ->(_) { [200, {}, PushServer.history('news').map(&:data)] }"
    start_in_another_folder(command, "-b", "tcp://127.0.0.1:0", "-w", "2", files: { "config.ru" => app_source })
    sh(RbConfig.ruby, "-e", "require 'push_server'; PushServer.publish('news', 'open')", chdir: app.dir)
    expect_eventually("the news") { get("/").body == "open" }
    expect(app.stop).to be_success
  end
end
