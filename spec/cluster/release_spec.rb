# frozen_string_literal: true

require "spec_helper"

# Deployments put each release into a folder of its own, and then change a symlink.
RSpec.describe "A release by a symlink", transport: :tcp do
  before do
    skip "this Ruby has no Bundler" unless system(RbConfig.ruby, "-rbundler", "-e", "", err: File::NULL)
    @folder = Dir.mktmpdir("push_server-releases")
    [1, 2].each { |number| release(number) }
    deploy(1)
  end

  after { FileUtils.rm_rf(@folder) }

  def current = File.join(@folder, "current")

  # A release, with a version of a gem that only it has.
  def release(number)
    write("gems/#{number}/lib/greeting.rb", "GREETING = 'gem #{number}'")
    write("gems/#{number}/greeting.gemspec", <<~RUBY)
      Gem::Specification.new do |gem|
        gem.name, gem.version, gem.summary, gem.authors = "greeting", "#{number}.0", "A greeting", ["none"]
        gem.files = ["lib/greeting.rb"]
      end
    RUBY
    write("#{number}/Gemfile", "source 'https://rubygems.org'\ngem 'rack'\ngem 'greeting', path: '../gems/#{number}'\n")
    write("#{number}/config.ru", "require 'greeting'\nrun ->(_) { [200, {}, [\"code #{number}, \#{GREETING}\"]] }\n")
  end

  def write(name, text)
    path = File.join(@folder, name)
    FileUtils.mkdir_p(File.dirname(path))
    File.write(path, text)
  end

  # As deployment tools do it: the link always exists.
  def deploy(number)
    File.symlink(number.to_s, "#{current}.new")
    File.rename("#{current}.new", current)
  end

  [[], ["--no-preload"]].each do |switches|
    it "takes effect at USR1, with the gems of its own Gemfile #{switches.join(" ")}".strip do
      start_app("config.ru", "-w", 2, *switches, dir: current, env: { "PWD" => current, "RUBYOPT" => "-rbundler/setup" })
      expect(fetch).to eq("code 1, gem 1")

      deploy(2)
      app.signal("USR1")
      expect_eventually("the new release to serve") { fetch == "code 2, gem 2" }
      expect_eventually("all workers to be new") { Array.new(20) { fetch }.uniq == ["code 2, gem 2"] }
      expect(app.stop).to be_success
    end
  end
end
