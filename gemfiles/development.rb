# frozen_string_literal: true

# What working on push_server takes, whatever the Rack.
gem "rake", "~> 13.0"
gem "rake-compiler", "~> 1.2"
gem "rbs", ">= 2.1"
gem "rspec", "~> 3.13"
# The version that Debian has, so that everybody sees the same.
gem "rubocop", "~> 1.39.0"
gem "websocket", "~> 1.2"

# No longer a part of Ruby itself from 3.5 on.
if Gem.ruby_version >= Gem::Version.new("3.5.dev")
  gem "fiddle"
  gem "tsort"
end
