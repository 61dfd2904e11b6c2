# frozen_string_literal: true

require "rspec"
require "rack"
require "tmpdir"

Dir[File.join(__dir__, "support", "*.rb")].each { |file| require file }

# A server in a program leaves alone what was ignored before it, as nohup does; the programs of the specs start afresh.
Signal.trap("HUP", "DEFAULT")

# The sockets of servers without a folder tmp. Those of servers that specs kill would stay in the user's own.
runtime_folder = Dir.mktmpdir("push_server-spec")
ENV["XDG_RUNTIME_DIR"] = runtime_folder

RSpec.configure do |config|
  config.disable_monkey_patching!
  config.expect_with(:rspec) { |expectations| expectations.syntax = :expect }
  config.raise_errors_for_deprecations!
  config.filter_run_when_matching :focus
  config.order = :random
  Kernel.srand config.seed

  config.include Eventually
  config.include Serving
  config.extend Serving::Macros
  Transport.configure(config)

  config.after do |example|
    if example.exception
      AppProcess.running.each do |app|
        config.reporter.message("    Output of the app of this example:\n#{app.lines.last(60).map { |line| "    | #{line}" }.join}")
      end
    end
    close_clients
    kill_apps
  end

  # An interrupted run leaves no server behind.
  config.after(:suite) do
    AppProcess.running.dup.each(&:kill)
    FileUtils.rm_rf(runtime_folder)
  end
end
