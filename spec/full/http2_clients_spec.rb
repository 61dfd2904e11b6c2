# frozen_string_literal: true

require "spec_helper"
require "open3"

# Clients of others that speak HTTP/2: curl, Node's http2, nghttp and h2load (nghttp2), and Python's httpx.
RSpec.describe "Clients of HTTP/2", :full do
  config = <<~'CONFIG'
    require "spec_app"

    ECHO = SpecApp::Recorder.new(message: ->(client, data) { client.write(data) }, open: ->(client) { client.write("welcome") })

    run(lambda do |env|
      env["rack.upgrade"] = ECHO if env["rack.upgrade?"]
      case env["PATH_INFO"]
      when "/echo" then [200, {}, [env["rack.input"].read]]
      when "/big" then [200, {}, ["x" * 5_000_000]]
      when "/trailer" then [200, { "x-protocol" => env["SERVER_PROTOCOL"] }, Enumerator.new { |body| 100.times { body << "part " } }]
      else [200, { "x-protocol" => env["SERVER_PROTOCOL"] }, ["hello"]]
      end
    end)
  CONFIG

  node = <<~'JS'
    import http2 from "node:http2"
    import fs from "node:fs"
    const [url, ca] = process.argv.slice(1)
    const session = http2.connect(url, ca ? { ca: fs.readFileSync(ca), servername: "localhost" } : {})
    session.setMaxListeners(1000)
    const request = (headers, body) => new Promise((resolve, reject) => {
      const stream = session.request(headers), seen = { data: "" }
      stream.on("headers", (early) => { seen.early = early[":status"] })
      stream.on("response", (head) => { seen.status = head[":status"] })
      stream.setEncoding("latin1")
      stream.on("data", (data) => { seen.data += data })
      stream.on("end", () => resolve(seen))
      stream.on("error", reject)
      stream.end(body)
    })
    const events = () => new Promise((resolve) => {
      const stream = session.request({ ":path": "/events", accept: "text/event-stream" })
      let data = ""
      stream.setEncoding("utf8")
      stream.on("data", (text) => {
        data += text
        if (data.includes("data: welcome")) stream.close(http2.constants.NGHTTP2_CANCEL)
      })
      stream.on("close", () => resolve(data.includes("data: welcome")))
    })
    // A WebSocket by RFC 8441, with one frame in each direction.
    const webSocket = () => new Promise((resolve, reject) => {
      const stream = session.request({ ":method": "CONNECT", ":protocol": "websocket", ":path": "/ws", "sec-websocket-version": "13" })
      let bytes = Buffer.alloc(0)
      stream.on("response", (head) => {
        if (head[":status"] !== 200) reject(new Error(String(head[":status"])))
        stream.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
      })
      stream.on("data", (data) => {
        bytes = Buffer.concat([bytes, data])
        if (!stream.writableEnded && bytes.includes("welcome") && bytes.includes("hi")) stream.end(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]))
      })
      stream.on("end", () => resolve(true))
      stream.on("error", reject)
    })
    await new Promise((resolve) => session.on("remoteSettings", resolve))
    const hellos = await Promise.all(Array.from({ length: 200 }, () => request({ ":path": "/" })))
    const sockets = await Promise.all(Array.from({ length: 20 }, webSocket))
    const body = "x".repeat(1_000_000)
    const echo = await request({ ":path": "/echo", ":method": "POST" }, body)
    const big = await request({ ":path": "/big" })
    console.log(JSON.stringify({
      hellos: hellos.filter(({ status, data }) => status === 200 && data === "hello").length, sockets: sockets.length,
      echo: echo.data === body, big: big.data.length, events: await events(),
      connect: session.remoteSettings.enableConnectProtocol
    }))
    session.close()
  JS

  httpx = <<~'PYTHON'
    import asyncio, json, ssl, sys, httpx

    async def main(url, ca=None):
        verify = ssl.create_default_context(cafile=ca) if ca else True
        async with httpx.AsyncClient(http1=False, http2=True, verify=verify) as client:
            answers = await asyncio.gather(*(client.get(url) for _ in range(100)))
            echo = await client.post(url + "echo", content=b"x" * 1_000_000)
            print(json.dumps({"versions": sorted({it.http_version for it in answers}), "statuses": sorted({it.status_code for it in answers}),
                              "echo": len(echo.content)}))

    asyncio.run(main(*sys.argv[1:]))
  PYTHON

  # What a command prints; it must succeed.
  def run(*command)
    output, status = Open3.capture2e(*command)
    expect(status).to be_success, "#{command.first(3).join(" ")}: #{output[-2000..] || output}"
    output
  end

  def require_program(name, *arguments)
    found = begin
      Open3.capture2e(name, *arguments).last.success?
    rescue Errno::ENOENT
      false
    end
    skip "There is no #{name} here" unless found
  end

  { "without TLS" => [], "with TLS" => ["-b", "ssl://127.0.0.1:0?#{CertificateAuthority.localhost.query}"] }.each do |title, bind|
    context title do
      serve config, *bind, via: bind.empty? ? :cli : :configured

      let(:encrypted) { bind.any? }
      let(:url) { "#{encrypted ? "https" : "http"}://localhost:#{app.port}/" }

      it "curl" do
        require_program("curl", "--http2", "--version")
        options = ["-sS", "--fail", *(encrypted ? ["--http2", "--cacert", CertificateAuthority.default.cert] : ["--http2-prior-knowledge"])]
        expect(run("curl", *options, "-D", "-", url)).to start_with("HTTP/2 200").and end_with("hello")
        expect(run("curl", *options, "--data-binary", "x" * 100_000, "#{url}echo").bytesize).to eq(100_000)
        expect(run("curl", *options, "-w", "%{http_version} %{size_download}", "-o", File::NULL, "#{url}big")).to eq("2 5000000")
        expect(run("curl", *options, "#{url}trailer")).to eq("part " * 100)
        expect(run("curl", *options, "-I", url)).to include("content-length: 5")
      end

      it "Node's http2" do
        require_program("node", "--version")
        printed = run("node", "--input-type=module", "-e", node, url, *(CertificateAuthority.default.cert if encrypted))
        expect(JSON.parse(printed.lines.last)).to eq("hellos" => 200, "sockets" => 20, "echo" => true, "big" => 5_000_000, "events" => true,
                                                     "connect" => true)
      end

      it "nghttp" do
        require_program("nghttp", "--version")
        printed = run("nghttp", "-nv", "--no-verify-peer", "-m", "10", url)
        expect(printed.scan(":status: 200").size).to eq(10)
        expect(printed).not_to match(/error_code=(?!NO_ERROR)/)
      end

      it "h2load" do
        require_program("h2load", "--version")
        expect(run("h2load", "-n", "2000", "-c", "8", "-m", "32", url)).to include("2000 succeeded, 0 failed, 0 errored, 0 timeout")
      end

      it "httpx" do
        skip Script.missing(:httpx) if Script.missing(:httpx)
        skip "There is no Python with httpx and h2 here" unless Script.python?("h2") && Script.python?("httpx")
        printed = run(Script.python, "-c", httpx, url, *(CertificateAuthority.default.cert if encrypted))
        expect(JSON.parse(printed.lines.last)).to eq("versions" => ["HTTP/2"], "statuses" => [200], "echo" => 1_000_000)
      end
    end
  end
end
