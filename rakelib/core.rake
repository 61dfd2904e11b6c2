# frozen_string_literal: true

require "json"
require "open3"

desc "Run the core's property tests with many cases ($PROPTEST_CASES, 100000)"
task :properties do
  cases = ENV.fetch("PROPTEST_CASES", "100000")
  sh({ "PROPTEST_CASES" => cases }, "cargo", "test", "-p", "push_core", "--locked", "--lib")
end

# What std and the test harness keep until the end is "still reachable" or "possibly lost". Only memory to which nothing
# points any more is a leak. The property tests have few cases ($PROPTEST_CASES, 16), since each takes 20 times as long.
desc "Run the core's tests under valgrind: no bad access, no leak"
task :valgrind do
  unless system("valgrind", "--version", out: File::NULL)
    warn "There is no valgrind"
    exit 77
  end
  messages, status = Open3.capture2("cargo", "test", "-p", "push_core", "--locked", "--no-run", "--message-format=json")
  abort unless status.success?

  environment = { "PROPTEST_CASES" => ENV.fetch("PROPTEST_CASES", "16") }
  messages.lines.filter_map { |line| JSON.parse(line)["executable"] }.each do |program|
    sh(environment, "valgrind", "--quiet", "--leak-check=full", "--show-leak-kinds=definite,indirect",
       "--errors-for-leak-kinds=definite,indirect", "--error-exitcode=1", program, "--test-threads=1")
  end
end
