# frozen_string_literal: true

require "spec_helper"

# The server makes envs from what earlier requests have left behind: Hashes with the same keys, Strings of hosts and addresses.
# So each env is compared with what the request alone says, whatever came before it.
RSpec.describe "The envs of random requests" do
  serve <<~'CONFIG', "--threads", "2", "--trusted-proxy", "127.0.0.1,::1"
    require "spec_app"

    # [class, content, encoding, whether it is frozen]
    show = lambda do |value|
      value.is_a?(String) ? ["String", value.b.dump, value.encoding.name, value.frozen?] : [value.class.name]
    end
    content = ->(env) { env.to_h { |key, value| [key, show.(value)] } }
    # The envs of earlier requests, each with what it had at the end of its request.
    kept = []
    # What an app and its middleware may do with an env.
    changes = [
      ->(env) { env.each_value { |value| value << "changed" if value.is_a?(String) && !value.frozen? } },
      ->(env) { env.each_value { |value| value.force_encoding("UTF-16LE") if value.is_a?(String) && !value.frozen? } },
      ->(env) { env.clear },
      ->(env) { env.transform_values! { |value| value.is_a?(String) ? "changed" : value } },
      ->(env) { env.keys.each { |key| env.delete(key) if key.start_with?("HTTP_", "rack.") } },
      ->(env) { 40.times { |number| env["added.#{number}"] = number } },
      ->(env) { env["rack.response_finished"] << ->(*) {} },
      ->(env) { env.compare_by_identity },
      ->(env) { env.replace(env.dup.merge("added" => true)).rehash },
      ->(env) { env.freeze },
      ->(_env) {}
    ]
    collections = { "minor" => -> { GC.start(full_mark: false) }, "full" => -> { GC.start }, "none" => -> {} }
    collections["compact"] = -> { GC.compact } if GC.respond_to?(:compact)

    run(lambda do |env|
      change, collection = env["HTTP_X_DO"].split
      collections.fetch(collection, collections["none"]).call
      seen = content.(env)
      finished = env["rack.response_finished"]
      problems = []
      problems << "the env is a #{env.class}, frozen: #{env.frozen?}" unless env.instance_of?(Hash) && !env.frozen?
      problems << "rack.response_finished: #{finished.inspect}" unless finished == [] && !finished.frozen?
      problems << "a default" if env.default || env.default_proc
      problems << "lookup" unless env.all? { |key, value| env[key.dup].equal?(value) && key.frozen? }
      problems << "an earlier env has changed" unless kept.all? { |earlier, what| content.(earlier) == what }
      strings = env.values.grep(String).reject(&:frozen?)
      earlier = kept.flat_map { |it, _| it.values.grep(String) }
      problems << "a String of two envs" if strings.any? { |string| earlier.any? { |other| string.equal?(other) } }
      problems << "a Proc of two envs" if kept.any? { |it, _| it["rack.hijack"].equal?(env["rack.hijack"]) }
      problems << "an Array of two envs" if kept.any? { |it, _| it["rack.response_finished"].equal?(finished) }
      changes[Integer(change) % changes.size].call(env)
      kept << [env, content.(env)]
      kept.shift if kept.size > 10
      [200, {}, [JSON.generate({ seen: seen, problems: problems })]]
    end)
  CONFIG

  # Names of headers that clients send, in the order in which they send them.
  pages = [
    %w[accept accept-encoding accept-language user-agent],
    %w[accept cookie user-agent x-request-id],
    %w[x-request-id user-agent cookie accept],
    %w[user-agent],
    %w[sec-ch-ua accept-language if-none-match cookie x-a x-b],
    %w[x-b x-a accept],
    %w[content-type accept],
    %w[accept x-has_underscore proxy cookie cookie x-many x-many],
    ["accept", "x-#{"long-" * 60}name", "user-agent"],
    [*Array.new(70) { |number| "x-number-#{number}" }, "accept"]
  ]
  hosts = ["localhost", "example.com", "example.com:8080", "[::1]", "[::1]:81", "a.example:"]
  # More than the server keeps.
  hosts += Array.new(12) { |number| "host#{number}.example" }
  addresses = ["203.0.113.9", "203.0.113.73", "203.0.113.201", "2001:db8::1", "2001:db8::41", nil]

  # A request as [method, target, header lines, body], with what its env must have.
  def make_request(random, names, hosts, addresses)
    host, address = hosts.sample(random: random), addresses.sample(random: random)
    method = %w[GET GET GET POST PUT DELETE PURGE].sample(random: random)
    path = ["/", "/a/path", "/#{"long/" * 20}", "/caf%C3%A9"].sample(random: random)
    query = ["", "x=1", "q=#{"z" * 40}"].sample(random: random)
    body = method == "GET" ? nil : "b" * random.rand(50)
    version = random.rand(10).zero? ? "1.0" : "1.1"
    scheme = address && %w[http https].sample(random: random)
    lines = names.map { |name| [name, value_of(name, random)] }
    collection = [*(%w[none] * 8), *(%w[minor] * 3), "full", "compact"].sample(random: random)
    lines << ["x-do", "#{random.rand(100)} #{collection}"]
    lines << ["x-forwarded-for", address] << ["x-forwarded-proto", scheme] if address
    { method: method, target: query.empty? ? path : "#{path}?#{query}", lines: lines, host: host, body: body, version: version,
      scheme: scheme || (transport == :tls ? "https" : "http"), path: path, query: query, address: address || "127.0.0.1" }
  end

  def value_of(name, random)
    return "text/#{random.rand(5)}" if name.start_with?("content")

    ["v#{random.rand(1000)}", "a long value " * random.rand(1..9), "gr\u00fc\u00dfe", "x"].sample(random: random).strip
  end

  # [class, content, encoding, whether it is frozen], as the app shows it.
  def bytes(text) = ["String", text.b.dump, "ASCII-8BIT", false]

  # Whether these are frozen, and their encoding, is the server's to say. Most are the same object in all envs.
  def expected_words(request)
    host = request[:host]
    name, port = host.match(/\A(\[.*\]|[^:]*)(?::(\d*))?\z/).captures
    { "REQUEST_METHOD" => request[:method], "QUERY_STRING" => request[:query], "SERVER_PROTOCOL" => "HTTP/#{request[:version]}",
      "HTTP_HOST" => host, "SERVER_NAME" => name, "REMOTE_ADDR" => request[:address], "SCRIPT_NAME" => "",
      "SERVER_PORT" => port.to_s.empty? ? { "http" => "80", "https" => "443" }.fetch(request[:scheme]) : port,
      "rack.url_scheme" => request[:scheme],
      **(transport == :tls && request[:scheme] == "https" ? { "HTTPS" => "on" } : {}) }
  end

  def expected_headers(request)
    lines = request[:lines].reject { |name, _| name.include?("_") || name == "proxy" }
    lines.group_by(&:first).to_h do |name, all|
      key = name == "content-type" ? "CONTENT_TYPE" : "HTTP_#{name.upcase.tr("-", "_")}"
      [key, bytes(all.map(&:last).join(name == "cookie" ? "; " : ", "))]
    end
  end

  def expected_others(request)
    length = request[:body] && ["String", request[:body].bytesize.to_s.dump, "UTF-8", false]
    hints = request[:version] == "1.1" ? ["PushServer::Answer"] : nil
    { "PATH_INFO" => bytes(request[:path]), "CONTENT_LENGTH" => length, "rack.upgrade?" => ["NilClass"],
      "rack.response_finished" => ["Array"], "rack.hijack" => ["PushServer::Answer"], "rack.early_hints" => hints,
      "rack.input" => [request[:body].to_s.empty? ? "PushServer::EmptyInput" : "StringIO"] }.compact
  end

  # What the listener's template has, which is the same in all envs.
  def constant = %w[SERVER_SOFTWARE rack.version rack.errors rack.multithread rack.multiprocess rack.run_once rack.hijack?]

  def answer_to(client, request)
    lines = ["host: #{request[:host]}", *request[:lines].map { |line| line.join(": ") }]
    lines << "connection: keep-alive" if request[:version] == "1.0"
    response = client.request(request[:method], request[:target], lines, body: request[:body], version: request[:version])
    JSON.parse(response.body)
  end

  def expect_env(answer, request)
    expect(answer["problems"]).to eq([])
    seen = answer["seen"]
    words = expected_words(request)
    others = { **expected_headers(request), **expected_others(request) }
    others["HTTP_CONNECTION"] = bytes("keep-alive") if request[:version] == "1.0"
    expect(seen.slice(*words.keys).transform_values { |shown| shown[1] }).to eq(words.transform_values { |word| word.b.dump })
    expect(seen.except(*words.keys, *constant)).to eq(others)
    expect(seen.keys).to include(*constant)
  end

  3.times do |seed|
    it "have exactly what the request and the listener say (seed #{seed})" do
      random = Random.new(seed)
      clients = Array.new(3) { http1 }
      120.times do
        # The same names several times in a row, as from one client, or among those of others.
        names = pages.first(random.rand(1..pages.size)).sample(random: random)
        random.rand(1..6).times do
          request = make_request(random, names, hosts, addresses)
          expect_env(answer_to(clients.sample(random: random), request), request)
        end
      end
    end
  end
end
