# frozen_string_literal: true

# What working on push_server takes, whatever the Rack.
gem "rake", "~> 13.0"
gem "rake-compiler", "~> 1.2"
gem "rspec", "~> 3.13"
gem "websocket", "~> 1.2"
