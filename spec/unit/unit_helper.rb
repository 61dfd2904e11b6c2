# frozen_string_literal: true

require "push_server"
require_relative "fake_reactor"
require_relative "../support/eventually"

# Unit specs know no network and no native reactor; they need not the black-box helpers either.
RSpec.configure do |config|
  config.include Eventually, :unit
  config.define_derived_metadata(file_path: %r{/spec/unit/}) { |metadata| metadata[:unit] = true }
end
