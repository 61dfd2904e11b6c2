# frozen_string_literal: true

require_relative "push_server/version"

# Precompiled gems carry one library per Ruby ABI; a source gem has one.
begin
  require "push_server/#{RUBY_VERSION[/\d+\.\d+/]}/push_server"
rescue LoadError
  require "push_server/push_server"
end
