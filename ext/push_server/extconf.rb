# frozen_string_literal: true

require "mkmf"
require "rb_sys/mkmf"

create_rust_makefile("push_server/push_server") do |config|
  # An installed gem is built from the versions it was tested with; a checkout may be changing them.
  config.extra_cargo_args << "--locked" unless File.exist?(File.join(__dir__, "../../Rakefile"))
end
