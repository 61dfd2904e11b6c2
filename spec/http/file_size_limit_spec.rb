# frozen_string_literal: true

require "spec_helper"

# `ulimit -f` limits the size of the files that a process writes. When it writes more, the system sends a signal, which ends the
# process unless the signal is handled.
RSpec.describe "A limit on the size of files" do
  limited = <<~'CONFIG'
    require "spec_app"

    Process.setrlimit(:FSIZE, 300_000)
    run ->(env) { [200, {}, [env["rack.input"].read.bytesize.to_s]] }
  CONFIG

  after { kill_apps }

  it "makes a request with a larger body fail with 500, and nothing else" do
    start_app(limited, "-t", "1")
    client = http
    client.send_request("POST", "/", { "content-length" => 1_000_000 })
    client.connection.offer("a" * 1_000_000)
    expect(client.read_response.status).to eq(500)
    expect_line(/cannot be written to a temporary file.*File too large/)
    expect(http.request("POST", "/", body: "b" * 200_000)).to have_attributes(status: 200, body: "200000")
    expect(app.stop).to be_success
  end

  it "makes the access log lose lines, and nothing else" do
    Dir.mktmpdir do |folder|
      log = File.join(folder, "access.log")
      File.write(log, "x" * 299_999)
      start_app(limited, "-t", "1", "--access-log", "common", "--access-log-file", log)
      expect(get("/").body).to eq("0")
      expect_line(/cannot write the access log.*File too large/)
      expect(get("/").body).to eq("0")
      expect(app.stop).to be_success
    end
  end
end
