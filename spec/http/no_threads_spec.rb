# frozen_string_literal: true

require "spec_helper"

# The system gives no more threads. spec/stream/no_threads_spec.rb is about lost threads.
RSpec.describe "A server that can start no more threads" do
  serve <<~'CONFIG', "-t", "2", "--public", "public", files: { "public/file.txt" => "the file" }
    require "spec_app"

    run ->(env) { [200, {}, [env["rack.input"].read.bytesize.to_s]] }
  CONFIG

  # No other process runs as this user, and the limit does not apply to root.
  take_threads = <<~'CODE'
    Process::UID.change_privilege(54_000 + Process.pid % 10_000) if Process.uid.zero?
    Process.setrlimit(:NPROC, 1)
    begin
      Thread.new {}
      "there are more"
    rescue ThreadError
      "none"
    end
  CODE

  it "still serves files, the app and long request bodies" do
    skip "there is no limit of threads to set" unless Process.const_defined?(:RLIMIT_NPROC)
    skip "Ruby 3.3 itself hangs when it cannot make a thread" if RUBY_VERSION.start_with?("3.3.")
    File.chmod(0o755, app.dir)
    skip "the limit does not hold here" unless app.ask(take_threads) == "none"
    3.times do
      client = http
      expect(client.get("/file.txt")).to have_attributes(status: 200, body: "the file")
      expect(client.get("/nothing")).to have_attributes(status: 200, body: "0")
      expect(client.request("POST", "/", body: "x" * 300_000)).to have_attributes(status: 200, body: "300000")
    end
  end

  it "raises an error that says so if there is no thread for the access log" do
    skip "there is no limit of threads to set" unless Process.const_defined?(:RLIMIT_NPROC)
    launch_app(<<~'SCRIPT', via: :ruby)
      require "push_server"
      Process::UID.change_privilege(54_000 + Process.pid % 10_000) if Process.uid.zero?
      Process.setrlimit(:NPROC, 1)
      begin
        PushServer.run(->(_) { [200, {}, []] }, bind: "tcp://127.0.0.1:0", access_log: :json, access_log_file: "/dev/null")
      rescue PushServer::Error => e
        puts e.message
      end
    SCRIPT
    expect_line(%r{\Acannot open the access log /dev/null: no thread to write it \(.*\): raise the system's limit on threads$})
  ensure
    kill_apps
  end
end
