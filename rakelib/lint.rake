# frozen_string_literal: true

require "rbconfig"

desc "Check Ruby, its signatures and Rust with their linters"
task lint: %w[lint:rubocop lint:rbs lint:rustfmt lint:clippy lint:rustdoc]

namespace :lint do
  # Runs a gem's command. Under bin/run, the gems that come with Ruby itself, such as rexml and rbs, are hidden.
  run_gem = lambda do |gem, *arguments, **options|
    bundled = File.join(RbConfig::CONFIG.fetch("rubylibprefix"), "gems", RbConfig::CONFIG.fetch("ruby_version"))
    environment = { "GEM_PATH" => [*Gem.path, bundled].uniq.join(File::PATH_SEPARATOR) }
    sh(environment, RbConfig.ruby, "-e", "load Gem.activate_bin_path(ARGV.first, ARGV.shift)", gem, *arguments, **options)
  end

  desc "Check Ruby with rubocop (.rubocop.yml)"
  task(:rubocop) { run_gem.call("rubocop", "--display-cop-names") }

  desc "Check that sig/ is valid RBS"
  task(:rbs) { run_gem.call("rbs", "-I", "sig", "validate", out: File::NULL) }

  desc "Check the format of Rust"
  task(:rustfmt) { sh "cargo", "fmt", "--all", "--check" }

  desc "Check Rust with clippy"
  task(:clippy) { sh "cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings" }

  desc "Check that the links in the core's documentation resolve"
  task :rustdoc do
    sh({ "RUSTDOCFLAGS" => "-D warnings" },
       "cargo", "doc", "-p", "push_core", "--no-deps", "--document-private-items", "--locked")
  end
end
