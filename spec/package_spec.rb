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

  it "serves with rackup" do
    source = 'run ->(_env) { [200, {}, $LOADED_FEATURES.grep(%r{/push_server[/.]}).map { |file| "#{file}\n" }] }'
    start_app(source, "-s", "push_server", via: :rackup, env: environment)
    response = HttpClient.new(app.port).get("/")

    expect(response.status).to eq(200)
    expect(response.body.lines).to include(end_with("/push_server.so\n").or(end_with("/push_server.bundle\n")))
    expect(response.body.lines).to all(start_with(File.realpath(@gem_home)))
    expect(app.stop).to be_success
  end

  it "has a command" do
    version = sh(File.join(@gem_home, "bin/push_server"), "--version", chdir: @folder)

    expect(version).to eq("push_server #{PushServer::VERSION}\n")
  end
end
