# frozen_string_literal: true

require_relative "prerequisites"

missing = Prerequisites.new.missing
abort missing.map { |line| "push_server cannot be built: #{line}" }.join("\n") if missing.any?

require "mkmf"
require "rb_sys/mkmf"

create_rust_makefile("push_server/push_server") do |config|
  # Without this, rb_sys would download a whole toolchain if it found no cargo.
  config.auto_install_rust_toolchain = false
  # An installed gem is built from the versions it was tested with; a checkout may be changing them.
  config.extra_cargo_args << "--locked" unless File.exist?(File.join(__dir__, "../../Rakefile"))
end
