# frozen_string_literal: true

require "rake/clean"

CLOBBER.include("pkg")

desc "Build the gem into pkg/"
task :build do
  require "rubygems/package"

  spec = Gem::Specification.load("push_server.gemspec")
  mkdir_p "pkg"
  Gem::Package.build(spec, false, false, File.join("pkg", spec.file_name))
end
