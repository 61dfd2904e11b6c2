# frozen_string_literal: true

require_relative "unit_helper"

# Methods, constants and options of Iodine and Agoo: each raises an error of one line that says what to use.
RSpec.describe PushServer::Unsupported do
  page = File.read(File.expand_path("../../docs/migration.md", __dir__))
  owners = { "PushServer" => PushServer, "PushServer::Server" => PushServer::Server,
             "PushServer::Client" => Class.new { include PushServer::Unsupported::ClientMethods }.new }

  described_class::METHODS.each do |owner, words|
    words.each_key do |word|
      it "raises one line for #{owner} #{word}" do
        expect(owners[owner]).not_to respond_to(word)
        arguments = word.end_with?("=") ? [1] : []
        expect { owners[owner].public_send(word, *arguments) { nil } }
          .to raise_error(PushServer::UnsupportedError, /\Athere is no #{owner}[.#]#{Regexp.escape(word)}: [^\n]+ \(docs.migration.md\)\z/)
      end
    end
  end

  described_class::CONSTANTS.each_key do |constant|
    it "raises one line for PushServer::#{constant}" do
      expect(PushServer.const_defined?(constant, false)).to be(false)
      expect { PushServer.const_get(constant, false) }
        .to raise_error(PushServer::UnsupportedError, /\Athere is no PushServer::#{constant}: [^\n]+ \(docs.migration.md\)\z/)
    end
  end

  described_class::SETTINGS.each_key do |option|
    it "raises one line for the option #{option}" do
      expect { PushServer::Options.new({ option => 1 }) }
        .to raise_error(PushServer::OptionError, /\Athere is no option :#{option}: [^\n]+\z/)
    end
  end

  it "names only methods and options that exist" do
    lines = described_class::METHODS.values.flat_map(&:values) + described_class::CONSTANTS.values + described_class::SETTINGS.values
    lines.uniq.flat_map { |line| line.scan(/(PushServer(?:::Server)?)\.(\w+[?=]?)/) }.uniq.each do |owner, word|
      expect(owners.fetch(owner)).to respond_to(word)
    end
    lines.flat_map { |line| line.scan(/client\.(\w+\??)/) }.flatten.uniq.each do |word|
      expect(PushServer::Client.method_defined?(word)).to be(true), word
    end
    named = described_class::SETTINGS.values.grep(/option/).flat_map { |line| line.scan(/\b[a-z]+_[a-z_]+\b/) }.map(&:to_sym)
    expect(named.uniq - PushServer::Options::TABLE.keys).to be_empty
  end

  it "is included by clients, which have none of these methods" do
    expect(PushServer::Client).to include(PushServer::Unsupported::ClientMethods)
    words = described_class::METHODS.fetch("PushServer::Client").keys
    expect(words.select { |word| PushServer::Client.method_defined?(word) }).to be_empty
  end

  it "leaves other names to Ruby" do
    expect { PushServer.no_such_word }.to raise_error(NoMethodError, /no_such_word/)
    expect { PushServer::Server.no_such_word }.to raise_error(NoMethodError, /no_such_word/)
    expect { owners["PushServer::Client"].no_such_word }.to raise_error(NoMethodError, /no_such_word/)
    expect { PushServer::NoSuchConstant }.to raise_error(NameError, /NoSuchConstant/)
  end

  # The documented methods and options of Iodine and Agoo that an app can use.
  it "has a line in docs/migration.md for every documented method and option of Iodine and Agoo" do
    words = %w[
      Iodine.listen Iodine.listen2http Iodine.start Iodine.stop Iodine.threads Iodine.workers Iodine.verbosity
      Iodine.run_after Iodine.run_every Iodine.run Iodine.defer Iodine.on_idle Iodine.on_state Iodine.before_fork
      Iodine.subscribe Iodine.publish Iodine.connect Iodine.attach_fd Iodine.patch_rack Iodine.running?
      Iodine::PubSub Iodine::DEFAULT_SETTINGS Iodine::DEFAULT_HTTP_ARGS Iodine::TLS Iodine::Connection Iodine::Mustache
      Agoo::Server.init Agoo::Server.use Agoo::Server.domain Agoo::Server.path_group Agoo::Server.header_rule
      Agoo::Server.rack_early_hints Agoo::Log.configure Agoo::Log.rotate Agoo.publish Agoo::GraphQL Agoo::Request
      ssl_cert worker_count con_id
    ]
    expect(words.reject { |word| page.include?(word) }).to be_empty
  end
end
