# frozen_string_literal: true

require_relative "unit_helper"

RSpec.describe PushServer::Options do
  def options(given = {}, env = {}) = described_class.new(given, env: env)

  it "has a default for every option" do
    expect(options.to_h).to include(port: 9292, threads: 5, environment: "development", drain_timeout: 25,
                                    log_level: :info, sse_event: "msg", slow_client: :close, allowed_origins: [],
                                    bind: nil, public_dir: nil, access_log: :off, access_log_file: "-")
  end

  it "takes limits and timeouts from Rust's table" do
    PushServer.const_get(:NativeServer)::LIMITS.each do |row|
      expect(options[row[:name]]).to eq(row[:default]), row[:name].to_s
      expect(described_class::TABLE[row[:name]].doc).to eq(row[:doc])
    end
  end

  it "gives the native server every limit, and its other settings" do
    names = PushServer.const_get(:NativeServer)::LIMITS.map { |row| row[:name] }
    expect(options.settings.keys)
      .to match_array(names + %i[sse_event poll_parameter allowed_origins slow_client public_dir threads access_log
                                 access_log_file trusted_proxy proxy_protocol websocket_compression http2 http2_websocket hint_event_name
                                 hint_text_in_bytes])
  end

  it "converts strings" do
    given = options(port: "80", threads: "2", drain_timeout: "0.5", log_level: "warn", slow_client: "reject",
                    max_message_size: "64KiB", ping_interval: "off", allowed_origins: "http://a, http://b")
    expect(given.to_h).to include(port: 80, threads: 2, drain_timeout: 0.5, log_level: :warn, slow_client: :reject,
                                  max_message_size: 65_536, ping_interval: nil,
                                  allowed_origins: %w[http://a http://b])
  end

  it "takes the most of a range of threads, as Puma has it" do
    expect(%w[0:5 5:5 5].map { |text| options(threads: text)[:threads] }).to eq([5, 5, 5])
  end

  it "knows sizes with and without a unit" do
    sizes = { "1" => 1, "2k" => 2048, "3KB" => 3072, "1 MiB" => 1 << 20, "1g" => 1 << 30, 5 => 5, "7b" => 7 }
    sizes.each { |text, bytes| expect(options(max_body_size: text)[:max_body_size]).to eq(bytes) }
  end

  it "refuses bytes that are not UTF-8, except in paths" do
    described_class::TABLE.each_value do |option|
      next if %i[directory file socket].include?(option.type)

      ["\xff", "\xff".b, ["a,\xff"]].each do |value|
        expect { options(option.name => value) }.to raise_error(PushServer::OptionError, /\A#{option.name}: cannot be/)
      end
    end
    expect { options({}, "RAILS_MAX_THREADS" => "\xff") }.to raise_error(PushServer::OptionError, /\$RAILS_MAX_THREADS cannot be "\\xFF"/)
    expect(options(access_log_file: "/\xff".b)[:access_log_file].b).to eq("/\xff".b)
  end

  it "takes '' and nil as events without a name" do
    expect(options(sse_event: "")[:sse_event]).to be_nil
    expect(options(sse_event: nil)[:sse_event]).to be_nil
    expect(options(sse_event: "off")[:sse_event]).to eq("off")
  end

  it "takes nil as not given if nil has no meaning" do
    expect(options(port: nil, bind: nil, threads: nil).to_h).to include(port: 9292, bind: nil, threads: 5)
  end

  it "makes the public folder absolute" do
    expect(options(public_dir: ".")[:public_dir]).to eq(Dir.pwd)
  end

  it "makes the log file's path absolute, and knows that - is not a file" do
    expect(options(access_log_file: "log/a.log")[:access_log_file]).to eq(File.join(Dir.pwd, "log/a.log"))
    expect(options(access_log: "json", access_log_file: "a.log")).to be_log_file
    expect([options(access_log: "json"), options(access_log_file: "a.log")].map(&:log_file?)).to eq([false, false])
  end

  describe "the environment" do
    it "gives the values of options that are not given" do
      env = { "PORT" => "3000", "RAILS_MAX_THREADS" => "7", "RACK_ENV" => "production" }
      expect(options({}, env).to_h).to include(port: 3000, threads: 7, environment: "production")
      expect(options({ port: 1, threads: 1, environment: "x" }, env).to_h)
        .to include(port: 1, threads: 1, environment: "x")
    end

    it "has an order, and empty variables do not count" do
      expect(options({}, "RACK_ENV" => "rack", "APP_ENV" => "app", "RAILS_ENV" => "rails")[:environment]).to eq("app")
      expect(options({}, "RACK_ENV" => "rack", "APP_ENV" => "", "RAILS_ENV" => "rails")[:environment]).to eq("rack")
      expect(options({}, "PORT" => "")[:port]).to eq(9292)
    end
  end

  describe "where to listen" do
    it "is localhost in development and test, and all addresses in other environments" do
      expect(options.binds).to eq(["tcp://localhost"])
      expect(options(environment: "test").binds).to eq(["tcp://localhost"])
      expect(options(environment: "production").binds).to eq(["tcp://*"])
    end

    it "is bind, or else the host" do
      expect(options(host: "0.0.0.0").binds).to eq(["tcp://0.0.0.0"])
      expect(options(host: "::1").binds).to eq(["tcp://[::1]"])
      expect(options(host: "x", bind: "tcp://a:1,tcp://b:2").binds).to eq(%w[tcp://a:1 tcp://b:2])
    end
  end

  describe "errors" do
    wrong = {
      port: ["abc", -1, 65_536, 1.5, true], threads: ["0", 0, "many"], drain_timeout: [-1, "soon", Float::INFINITY],
      log_level: ["loud"], access_log: ["apache"], access_log_file: [""], javascript: ["push.js", "/", "/a b", "/a?b"], slow_client: ["maybe"],
      max_message_size: ["1x", -1, 0.5], public_dir: ["/no/such/folder"]
    }
    wrong.each do |name, values|
      values.each do |value|
        it "refuses #{name}: #{value.inspect} in one line that says what is valid" do
          expect { options(name => value) }
            .to raise_error(PushServer::OptionError, /\A#{name}: cannot be #{Regexp.escape(value.inspect)}: give .+\z/)
        end
      end
    end

    it "name the environment variable from which a value comes" do
      expect { options({}, "PORT" => "x") }.to raise_error(PushServer::OptionError, /\A\$PORT cannot be "x"/)
    end

    it "name the option as the user has named it" do
      expect { described_class.new({ port: "x" }, env: {}) { |option| option.switches.last } }
        .to raise_error(PushServer::OptionError, /\A--port cannot be/)
    end

    it "suggest a similar option" do
      expect { options(thread: 1) }
        .to raise_error(PushServer::OptionError, "there is no option :thread: did you mean :threads?")
    end
  end
end
