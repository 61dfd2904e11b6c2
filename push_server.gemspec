# frozen_string_literal: true

require_relative "lib/push_server/version"

Gem::Specification.new do |spec|
  spec.name = "push_server"
  spec.version = PushServer::VERSION
  spec.authors = ["The push_server developers"]
  spec.summary = "A Rack web server with WebSocket and Server-Sent Events built in, on a Rust core"
  spec.description = <<~TEXT
    env['rack.upgrade?'] tells an app whether the client asks for a WebSocket or an event stream. The app accepts by
    setting env['rack.upgrade'] to a handler, whose callbacks the server calls: on_open, on_message, on_drained,
    on_shutdown and on_close. Open connections live in Rust: they use no Ruby thread, and a slow client does not slow
    down other clients.
  TEXT
  spec.license = "MIT"
  spec.required_ruby_version = ">= 3.1"
  spec.required_rubygems_version = ">= 3.3"

  source = "https://github.com/push-server/push_server"
  tag = "#{source}/blob/v#{spec.version}"
  spec.homepage = source
  spec.metadata = {
    "bug_tracker_uri" => "#{source}/issues",
    "changelog_uri" => "#{tag}/CHANGELOG.md",
    "documentation_uri" => "#{tag}/README.md",
    "rubygems_mfa_required" => "true",
    "source_code_uri" => "#{source}/tree/v#{spec.version}"
  }

  spec.files = Dir.glob(
    %w[Cargo.toml Cargo.lock src/**/*.rs ext/**/*.{rb,rs,toml} lib/**/*.{js,rb} exe/* sig/*.rbs
       docs/**/*.md docs/{deployment,grafana,systemd}/* .yardopts CHANGELOG.md LICENSE README.md],
    base: __dir__
  )
  spec.bindir = "exe"
  spec.executables = ["push_server"]
  spec.require_paths = ["lib"]
  spec.extensions = ["ext/push_server/extconf.rb"]

  spec.add_dependency "rack", ">= 2.2", "< 4"
  spec.add_dependency "rb_sys", "~> 0.9.87"
end
