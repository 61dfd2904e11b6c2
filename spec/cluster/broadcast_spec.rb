# frozen_string_literal: true

require "spec_helper"
require "json"
require "openssl"

# POST /_broadcast: publishing from other languages, docs/publishing.md.
RSpec.describe "Publishing by POST /_broadcast", transport: :tcp do
  include Command

  secret = "a secret of this spec alone"
  token = OpenSSL::HMAC.hexdigest("SHA256", secret, "broadcast-cable")
  environment = { "PUSH_SERVER_BROADCAST_SECRET" => secret }.freeze
  # So small that the limits can be reached.
  limits = %w[--publish-queue 5 --publish-queue-bytes 100000 --channel-memory 64KiB --max-body-size 200000]

  source = <<~'CONFIG'
    require "push_server"
    require "spec_app"

    PushServer.channel "kept*", history: 10

    class Subscriber < SpecApp::Recorder
      def on_open(client)
        client.env["PATH_INFO"].delete_prefix("/").split(",").each { |channel| client.subscribe(channel) }
        SpecApp.report(:subscribed, client, pid: Process.pid)
      end
    end

    run(lambda do |env|
      env["rack.upgrade"] = Subscriber.new if env["rack.upgrade?"]
      [200, {}, ["the app has got #{env["REQUEST_METHOD"]} #{env["PATH_INFO"]}"]]
    end)
  CONFIG

  define_method(:headers) { { "authorization" => "Bearer #{token}", "content-type" => "application/json" } }

  # The response to a request. body: a String, or what becomes JSON.
  def broadcast(body, path: "/_broadcast", method: "POST", **changed)
    changed = changed.transform_keys { |name| name.to_s.tr("_", "-") }
    body = JSON.generate(body) unless body.nil? || body.is_a?(String)
    http.request(method, path, headers.merge(changed).compact, body: body)
  end

  def cursor_of(response)
    expect(response).to have_attributes(status: 201, body: /\A\h+-\d+\n\z/)
    response.body.chomp
  end

  # A client of each process that serves, which has read its push.open.
  def clients_everywhere(channels)
    pids = app.tree.workers.map(&:pid)
    pids = [app.pid] if pids.empty?
    clients = {}
    100.times do
      break if clients.size == pids.size

      client = sse("/#{channels}")
      pid = event(:subscribed, client)[:pid]
      next client.close if clients.key?(pid)

      clients[pid] = client
      client.read_event
    end
    expect(clients.keys).to match_array(pids)
    clients.values
  end

  { "one process" => [], "two workers" => %w[-w 2] }.each do |name, mode|
    context "with #{name}" do
      serve source, *mode, *limits, env: environment

      before { app.wait_for_line(/All 2 workers serve/) if mode.any? }

      it "publishes a message to the clients of all processes, and answers with its cursor" do
        clients = clients_everywhere("orders")
        cursor = cursor_of(broadcast({ stream: "orders", data: '{"id":42}' }))
        expect(clients.map(&:read_event)).to all(have_attributes(data: '{"id":42}', event: "msg", id: cursor))
      end

      it "publishes an array in its order, and answers with the cursor of the last one" do
        clients = clients_everywhere("a,b")
        cursor = cursor_of(broadcast([{ stream: "a", data: "1" }, { stream: "b", data: "2" }, { stream: "a", data: "3" }]))
        clients.each do |client|
          blocks = Array.new(3) { client.read_event }
          expect(blocks.map(&:data)).to eq(%w[1 2 3])
          expect(blocks.last.id).to eq(cursor)
        end
      end

      it "sends of data that is no String its JSON, and obeys event and store" do
        client, = clients_everywhere("kept")
        all = [{ data: { id: 1, names: ["é", nil] } }, { data: [1.5, true], event: nil }, { data: nil, event: "tick" },
               { data: "", store: false }, { data: "é\n\u0000" }]
        cursor_of(broadcast(all.map { |message| { stream: "kept" }.merge(message) }))
        blocks = Array.new(5) { client.read_event }
        expect(blocks.map(&:data)).to eq(['{"id":1,"names":["é",null]}', "[1.5,true]", "null", "", "é\n\u0000"])
        expect(blocks.map(&:event)).to eq(["msg", nil, "tick", "msg", "msg"])
        late = sse("/kept", headers: { "last-event-id" => blocks[2].id })
        late.read_event
        expect(late.read_event.data).to eq("é\n\u0000")
      end

      it "publishes the same request again when it comes again" do
        client, = clients_everywhere("orders")
        first, second = Array.new(2) { cursor_of(broadcast({ stream: "orders", data: "paid" })) }
        expect(Array.new(2) { client.read_event }).to match([have_attributes(data: "paid", id: first), have_attributes(data: "paid", id: second)])
        expect(second).not_to eq(first)
      end

      it "takes a chunked body, several requests on a connection, and a scheme in lower case" do
        client, = clients_everywhere("orders")
        connection = http
        2.times do |n|
          body = JSON.generate(stream: "orders", data: n.to_s)
          chunked = "5\r\n#{body[0, 5]}\r\n#{(body.bytesize - 5).to_s(16)}\r\n#{body[5..]}\r\n0\r\n\r\n"
          fields = headers.merge("authorization" => "bearer #{token}", "content-type" => "Application/JSON; charset=utf-8",
                                 "transfer-encoding" => "chunked")
          connection.send_request("POST", "/_broadcast", fields)
          connection.write(chunked)
          expect(connection.read_response("POST").status).to eq(201)
        end
        expect(Array.new(2) { client.read_event.data }).to eq(%w[0 1])
      end

      good = { stream: "orders", data: "x" }
      {
        "without a token" => [good, { authorization: nil }, 401, /\AThe token is missing or wrong: send Authorization: Bearer/],
        "with an empty token" => [good, { authorization: "Bearer " }, 401, /token/],
        "with the secret itself" => [good, { authorization: "Bearer #{secret.tr(" ", "-")}" }, 401, /token/],
        "with a part of the token" => [good, { authorization: "Bearer #{token[0..-2]}" }, 401, /token/],
        "with the token of another secret" =>
          [good, { authorization: "Bearer #{OpenSSL::HMAC.hexdigest("SHA256", "another secret", "broadcast-cable")}" }, 401, /token/],
        "with another scheme" => [good, { authorization: "Basic #{token}" }, 401, /token/],
        "with bytes as a token" => [good, { authorization: "Bearer \xff\xfe".b }, 401, /token/],
        "by GET" => [nil, { method: "GET" }, 405, /\AOnly POST is allowed here/],
        "by PUT" => [good, { method: "PUT" }, 405, /\AOnly POST/],
        "as a form" => [good, { content_type: "application/x-www-form-urlencoded" }, 415, %r{\ASend the body as application/json}],
        "as text" => [good, { content_type: "text/plain" }, 415, /application/],
        "without a content type" => [good, { content_type: nil }, 415, /application/],
        "compressed" => [good, { content_encoding: "gzip" }, 415, /without a content-encoding/],
        "without a body" => [nil, {}, 400, /\AThe body is empty: send \{"stream"/],
        "with an empty body" => [" \n", {}, 400, /\AThe body is empty/],
        "with half of the JSON" => ['{"stream": "orders", "data":', {}, 400, /\AThe body is not JSON/],
        "with bytes" => ["{\"stream\": \"orders\", \"data\": \"\xff\"}".b, {}, 400, /not valid UTF-8/],
        "nested deeply" => [{ stream: "orders", data: "DEEP" }, {}, 400, /nested too deeply/],
        "with a number that JSON cannot hold" => ['{"stream": "orders", "data": 1e999}', {}, 400, /a number that is too large/],
        "with half of a surrogate pair" => ['{"stream": "orders", "data": "\ud800"}', {}, 400, //],
        "with an array without messages" => [[], {}, 400, /no message in the array/],
        "with a number" => [[good, 2], {}, 400, /\AMessage 2 of 2: a message is an object, such as/],
        "with a String" => ['"orders"', {}, 400, /\AA message is an object/],
        "without a stream" => [{ data: "x" }, {}, 400, /\AStream must be the name of a channel/],
        "with an empty stream" => [{ stream: "", data: "x" }, {}, 400, /\AStream must be/],
        "with a number as the stream" => [[good, { stream: 1, data: "x" }], {}, 400, /\AMessage 2 of 2: stream must be/],
        "with a long stream" => [[good, { stream: "x" * 300, data: "x" }], {}, 400, /\AMessage 2 of 2: a channel's name has at most 255 bytes/],
        "without data" => [{ stream: "orders" }, {}, 400, /\AData is missing/],
        "with a wrong event" => [{ stream: "orders", data: "x", event: false }, {}, 400, /\AEvent must be/],
        "with an event of two lines" => [[good, { stream: "orders", data: "x", event: "a\nb" }], {}, 400, /event: must not contain CR, LF or NUL/],
        "with a wrong store" => [{ stream: "orders", data: "x", store: "no" }, {}, 400, /\AStore must be true or false/],
        "with an unknown field" => [{ stream: "orders", data: "x", meta: {} }, {}, 400, /no field "meta": the fields are stream, data, event, store, compress/],
        "with too many messages" => [[good] * 6, {}, 413, /More than the 5 messages that publish_queue allows/],
        "with a message that is too long" => [[good, { stream: "orders", data: "x" * 60_000 }], {}, 413, /\AMessage 2 of 2: .*channel_memory/],
        "with a body that is too long" => [{ stream: "orders", data: "x" * 100_000 }, {}, 413, /More than the 100000 bytes that publish_queue_bytes allows/],
        "with a body that is too long for the server" => [{ stream: "orders", data: "x" * 200_000 }, {}, 413, //]
      }.each do |title, (body, changed, status, text)|
        it "refuses a request #{title} with #{status} and one line, and publishes nothing" do
          client, = clients_everywhere("orders")
          body = JSON.generate(body).sub('"DEEP"', "#{"[" * 200}#{"]" * 200}") if title == "nested deeply"
          response = broadcast(body, **changed)
          expect(response).to have_attributes(status: status, body: text)
          expect(response.body.lines.size).to be <= 1
          expect(response["www-authenticate"]).to eq("Bearer") if status == 401
          expect(response["allow"]).to eq("POST") if status == 405
          cursor_of(broadcast({ stream: "orders", data: "the next one" }))
          expect(client.read_event.data).to eq("the next one")
        end
      end

      it "leaves other paths to the app" do
        bodies = ["/_broadcast/", "/_broadcast2", "/%5Fbroadcast", "/"].map { |path| broadcast(good, path: path).body }
        expect(bodies).to all(start_with("the app has got POST"))
        expect(broadcast(good, path: "/_broadcast?a=b").status).to eq(201)
      end

      section = DocsPage.new("publishing.md")
      {
        "curl" => ["curl", "sh", %w[bash -c]],
        "Python" => ["python3", "python", %w[python3 -c]],
        "Node.js" => ["node", "js", %w[node --input-type=module -e]],
        "Go" => ["go", "go", nil]
      }.each do |language, (program, block, command)|
        missing = "there is no #{program}" unless ENV["PATH"].split(":").any? { |folder| File.executable?(File.join(folder, program)) }
        it "works from #{language} as docs/publishing.md has it", skip: missing do
          client, = clients_everywhere("orders")
          code = section.code("From other languages", block).gsub("http://localhost:9292", app.url)
          command ? words = [*command, code] : (words = %w[go run main.go])
          result = run_command(*words, files: { "main.go" => code }, env: { "BROADCAST_TOKEN" => token })
          expect(result.status).to be_success, "#{result.err}#{result.out}"
          block = client.read_event
          expect(JSON.parse(block.data)).to eq({ "id" => 42, "state" => "paid" })
          expect(result.out.chomp).to eq(block.id)
          next if mode.any?

          wrong = run_command(*words, files: { "main.go" => code }, env: { "BROADCAST_TOKEN" => "wrong" })
          expect(wrong.status).not_to be_success
        end
      end

      it "says nothing of the secret or of the token in the log" do
        expect(app.output).not_to match(/#{secret}|#{token}/)
      end
    end
  end

  it "makes the token as docs/publishing.md has it" do
    code = DocsPage.new("publishing.md").code("From other languages", "console")[/^\$ ruby (.*)$/, 1]
    expect(run_command("bash", "-c", "#{RbConfig.ruby} #{code}", env: environment).out.chomp).to eq(token)
  end

  it "is off by default: the app gets the request" do
    start_app(source, "--broadcast-path", "/_broadcast")
    expect(broadcast({ stream: "orders", data: "x" }).body).to eq("the app has got POST /_broadcast")
  end

  it "has another path, if an option says so" do
    start_app(source, "--broadcast-path", "/internal/publish", env: environment)
    message = { stream: "orders", data: "x" }
    expect(broadcast(message).body).to eq("the app has got POST /_broadcast")
    cursor_of(broadcast(message, path: "/internal/publish"))
  end

  it "works in rackup" do
    start_app(source, via: :rackup, env: environment)
    client, = clients_everywhere("orders")
    cursor_of(broadcast({ stream: "orders", data: "x" }))
    expect(client.read_event.data).to eq("x")
  end

  it "works in rackup with workers, whose command lines do not show the secret", if: File.exist?("/proc/self/cmdline") do
    start_app(source, "-s", "push_server", "-O", "Workers=2", "-O", "BroadcastSecret=#{secret}", via: :rackup)
    app.wait_for_line(/All 2 workers serve/)
    cursor_of(broadcast({ stream: "orders", data: "x" }))
    pids = [app.pid, *app.tree.children.map(&:pid)]
    expect(pids.map { |pid| File.read("/proc/#{pid}/cmdline") }.join).not_to include(secret)
  end

  it "says what is published, or may be, if the hub does not answer, or refuses a message" do
    options = %w[--publish-timeout 0.3 --publish-queue 2 --channel-memory 256KiB]
    start_cluster(source, *options, workers: 1, env: environment)
    client, = clients_everywhere("orders")
    hub = app.tree.hub.pid
    Process.kill("STOP", hub)
    both = broadcast([{ stream: "orders", data: "1" }, { stream: "orders", data: "2" }])
    expect(both).to have_attributes(status: 503, body: /does not answer: all 2 messages may be published nevertheless\n\z/)
    expect(both["retry-after"]).to eq("1")
    full = broadcast({ stream: "orders", data: "3" })
    expect(full).to have_attributes(status: 503, body: /takes no messages for now: nothing was published\n\z/)
    Process.kill("CONT", hub)
    expect(Array.new(2) { client.read_event.data }).to eq(%w[1 2])
    # They have waited already.
    expect(app.output).not_to include("a response was sent before the messages")
    # The worker has room for it, but not the hub.
    long = broadcast([{ stream: "orders", data: "x" * (64 << 10) }, { stream: "orders", data: "4" }])
    expect(long).to have_attributes(status: 413, body: /longer than the server accepts.*: 1 of 2 messages was published\n\z/)
    cursor = cursor_of(broadcast({ stream: "orders", data: "5" }))
    expect(client.read_event.data).to eq("4")
    expect(client.read_event).to have_attributes(data: "5", id: cursor)
  ensure
    Process.kill("CONT", hub) if hub
  end

  it "says how many messages of an array are published, if there are too many channels" do
    start_app(source, "--max-channels", "2", env: environment)
    response = broadcast(Array.new(4) { |n| { stream: "kept#{n % 3}", data: "x" } })
    expect(response).to have_attributes(status: 503, body: "there are 2 channels already: 2 of 4 messages were published\n")
    expect(response["retry-after"]).to eq("1")
  end

  it "refuses a secret that is easy to guess, and does not repeat it" do
    { "--broadcast-secret" => [%w[--broadcast-secret hunter2], {}],
      "$PUSH_SERVER_BROADCAST_SECRET" => [[], { "PUSH_SERVER_BROADCAST_SECRET" => "hunter2" }] }.each do |source_of_it, (words, env)|
      result = push_server(*words, env: env, files: { "config.ru" => source })
      expect(result.complaint).to eq(["push_server: #{source_of_it} cannot be this text: give at least 16 bytes, such as openssl rand -hex 32 prints"])
    end
  end

  it "shows in --check that there is a secret, and not which one" do
    hello = { "config.ru" => "run ->(_) { [200, {}, []] }" }
    expect(push_server("--check", files: hello).out).to match(/^  broadcast_secret +off +default$/)
    result = push_server("--check", files: hello, env: environment)
    expect(result.out).to match(/^  broadcast_secret +set +\$PUSH_SERVER_BROADCAST_SECRET$/)
    expect(result.out + result.err).not_to include(secret)
  end
end
