# frozen_string_literal: true

require "spec_helper"

RSpec.describe "A worker that loses its connection to the hub", transport: :tcp do
  # "/few" lets the process open no more files, "/many" takes that back; both need a connection that is open already.
  source = <<~'CONFIG'
    PushServer.channel("news", history: 100)
    MANY = Process.getrlimit(:NOFILE)

    run(lambda do |env|
      _, verb, text = env["PATH_INFO"].split("/")
      body = case verb
             when nil then Process.pid
             when "few" then Process.setrlimit(:NOFILE, 3, MANY.last)
             when "many" then Process.setrlimit(:NOFILE, *MANY)
             when "publish" then PushServer.publish("news", text)
             when "history" then PushServer.history("news").map(&:data).join(",")
             end
      [200, {}, [body.to_s]]
    rescue PushServer::EngineUnavailable
      [503, {}, []]
    end)
  CONFIG

  # A connection to the worker with this number.
  def connection_to(number)
    eventually("a connection to worker #{number}") do
      client = http
      client.get("/").body == workers[number].to_s ? client : client.close && nil
    end
  end

  it "gets another one as soon as it can" do
    start_cluster(source)
    before = workers
    one, two = connection_to(1), connection_to(2)
    one.get("/few")
    expect_another_hub(kill_hub)
    expect_line(/worker 1\] this process: got no connection to the hub: too many files are open/)
    one.get("/many")
    expect_line(/worker 1 \(pid #{before[1]}\) has lost its connection to the hub, and gets another one/)

    expect_eventually("a message of worker 2 in worker 1") do
      two.get("/publish/hello").status == 200 && one.get("/history").body.include?("hello")
    end
    expect(one.get("/publish/back").status).to eq(200)
    expect_eventually("a message of worker 1 in worker 2") { two.get("/history").body.include?("back") }
    expect(workers).to eq(before)
  end

  it "is replaced if it loses each one" do
    start_cluster(source)
    before = workers
    connection_to(1).get("/few")
    expect_another_hub(kill_hub)

    expect_line(/worker 1 \(pid #{before[1]}\) is replaced: it has lost its connection to the hub 6 times in a row/)
    close_clients
    expect_eventually("another worker 1") { (now = workers)[1] && now[1] != before[1] && answering.size == 2 }
    expect(workers[2]).to eq(before[2])
  end
end
