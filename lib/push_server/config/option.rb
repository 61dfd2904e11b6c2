# frozen_string_literal: true

require "ipaddr"
require_relative "../errors"
require_relative "processors"

module PushServer
  # One row of the table of options: its name, its values, and its default. Frozen; any thread.
  class Option
    # The types of values: what --help calls the value, and what an error asks for.
    TYPES = {
      binds: ["URL", "tcp://host:port, ssl://host:port, unix:///path or fd://3"],
      bytes: ["BYTES", "a number of bytes, such as 65536, 64KiB or 1MiB"],
      choice: ["NAME", nil],
      count: ["N", "a whole number"],
      directory: ["DIR", "a folder"],
      endpoint: ["URL", "tcp://host:port or unix:///path"],
      file: ["PATH", "the path of a file"],
      flag: ["BOOLEAN", "true or false"],
      list: ["VALUE", "a list"],
      location: ["PATH", "a path of the site, which begins with /"],
      milliseconds: ["MS", "a number of milliseconds"],
      mode: ["MODE", "three octal digits, such as 0660"],
      networks: ["CIDR", "addresses and networks, such as 192.0.2.7, 10.0.0.0/8 or fd00::/8"],
      port: ["PORT", "a number"],
      seconds: ["SECONDS", "a number of seconds"],
      secret: ["SECRET", "at least 16 bytes, such as openssl rand -hex 32 prints"],
      socket: ["PATH", "the path of a Unix socket"],
      text: ["NAME", "a name"],
      threads: ["N", "a whole number"],
      title: ["TEXT", "a text"],
      workers: ["N", "auto, or a whole number"]
    }.freeze

    MODE = /\A0?[0-7]{3}\z/
    BYTES = /\A(\d+)\s*(?:([kmg])(?:i?b)?|b)?\z/i
    SCALE = { nil => 1, "k" => 1 << 10, "m" => 1 << 20, "g" => 1 << 30 }.freeze
    # The words for nil on a command line.
    OFF = { seconds: %w[off none], milliseconds: %w[off none], bytes: %w[off none],
            endpoint: ["off", "none", ""], socket: ["off", "none", ""] }.freeze
    FLAGS = { "true" => true, "on" => true, "yes" => true, "1" => true,
              "false" => false, "off" => false, "no" => false, "0" => false }.freeze
    NUMBERS = %i[bytes count milliseconds port seconds threads workers].freeze
    LISTS = %i[binds list networks].freeze
    # Paths may be any bytes.
    PATHS = %i[directory file socket].freeze
    # Bytes of the shortest secret: shorter ones can be guessed.
    LEAST_SECRET = 16
    private_constant :MODE, :BYTES, :SCALE, :OFF, :FLAGS, :NUMBERS, :LISTS, :PATHS, :LEAST_SECRET

    # Symbol, in snake_case.
    attr_reader :name
    # A key of TYPES.
    attr_reader :type
    # The value if it is not given; nil is off, or decided elsewhere (`doc` says where).
    attr_reader :default
    # What it does, in one sentence.
    attr_reader :doc
    # Its heading in --help.
    attr_reader :group
    # Environment variables that set it; the first one that is not empty counts.
    attr_reader :env
    # Command-line switches; none if it is not on the command line.
    attr_reader :switches
    # The name of the value in --help.
    attr_reader :metavar
    # The values of a :choice.
    attr_reader :choices

    def initialize(name, type, doc, group: nil, default: nil, env: [], switches: nil, metavar: nil, choices: nil,
                   least: 0, most: nil, off: false)
      @name = name
      @type = type
      @doc = doc
      @group = group
      @default = default.freeze
      @env = env.freeze
      @switches = (switches || ["--#{name.to_s.tr("_", "-")}"]).freeze
      @metavar = metavar || TYPES.fetch(type).first
      @choices = choices.freeze
      # The bounds of a number; a most of nil is no bound.
      @least = least
      @most = type == :port ? 65_535 : most
      @off = off
      freeze
    end

    # Whether nil is a value, and does not mean that the option is not given.
    def off? = @off

    # The default and the maximum, for people to read.
    def default_text
      most = "at most #{human(@most)}" if @most && type != :port
      [default_words, most].compact.join(", ")
    end

    # A value for people to read: as --help has the default.
    # @return [String]
    def human_value(value)
      return "set" if secret? && value

      case value
      when nil then off? ? "off" : ""
      when Array then value.join(", ")
      when Integer then type == :mode ? format("%04o", value) : human(value)
      else value.to_s
      end
    end

    # Converts what a user has given, a String from a command line or any object from Ruby, into the value.
    # @param source [String] how the user named the option, for the error
    # @param base [String] the folder in which a relative path begins
    # @raise [OptionError]
    def coerce(value, source = "#{name}:", base: Dir.pwd)
      raise OptionError, "#{source} cannot be #{shown(value)}: give UTF-8" unless PATHS.include?(type) || utf8?(value)
      return nil if off? && (value.nil? || OFF.fetch(type, [""]).include?(value.to_s.b.downcase))

      result = PATHS.include?(type) ? send(@type, value, base) : send(@type, value)
      result.nil? ? raise(OptionError, "#{source} cannot be #{shown(value)}: give #{wanted}") : result
    end

    # The words that set it on a command line.
    # @param value [Object] as {coerce} returns it
    # @return [Array<String>]
    def words(value)
      return [value ? switches.last : switches.last.sub("--", "--no-")] if flag?

      Array(value.nil? ? OFF.fetch(type, [""]).first : value).flat_map { |item| [switches.last, item.to_s] }
    end

    # Whether it has several values: it may be given several times.
    def list? = LISTS.include?(type)

    # Whether it is a switch without a value: --name, and --no-name.
    def flag? = type == :flag

    # Whether its value must not be seen: in a log, in a list of processes, in what --check prints.
    def secret? = type == :secret

    private

    # Whether a String, or each String of a list, is valid UTF-8. The system gives them in other encodings, too.
    def utf8?(value)
      Array(value).grep(String).all? { |text| text.dup.force_encoding(Encoding::UTF_8).valid_encoding? }
    end

    # A wrong value, for an error.
    def shown(value) = secret? ? "this text" : value.inspect

    def default_words = (human_value(default) unless default.is_a?(Array) || (default.nil? && !off?))

    # A method for each type: the value, or nil if it is not valid.

    def binds(value) = list(value)&.then { |urls| urls unless urls.empty? }

    def bytes(value)
      return count(value) unless value.is_a?(String)

      match = BYTES.match(value)
      match && in_range(match[1].to_i * SCALE.fetch(match[2]&.downcase))
    end

    def choice(value) = @choices.find { |choice| choice.to_s == value.to_s }

    def count(value)
      number = value.is_a?(Integer) ? value : Integer(value.to_s, 10, exception: false)
      number && in_range(number)
    end

    def directory(value, base)
      path = File.expand_path(value.to_s, base)
      path.freeze if !value.to_s.empty? && File.directory?(path)
    end

    # {Endpoint} says what is wrong with the rest.
    def endpoint(value) = value.to_s.then { |url| url.dup.freeze if url.match?(%r{\A(?:tcp|unix)://}) }

    # "-" is stdout, not a file.
    def file(value, base)
      path = value.to_s
      (path == "-" ? path.dup : File.expand_path(path, base)).freeze unless path.empty?
    end

    def flag(value) = FLAGS[value.to_s.downcase]

    def list(value)
      Array(value).flat_map { |item| item.to_s.split(",") }.map { |item| item.strip.freeze }.reject(&:empty?).freeze
    end

    def location(value) = value.to_s.then { |path| path.dup.freeze if path.match?(%r{\A/[^?#\s]+\z}) }

    def milliseconds(value) = count(value)

    def mode(value)
      return (value if value.between?(0, 0o777)) if value.is_a?(Integer)

      value.oct if MODE.match?(value.to_s)
    end

    # Of addresses without names: a name may stand for any address.
    def networks(value)
      list(value).each { |network| network.match?(%r{\A[\h.:]+(/\d+)?\z}) && IPAddr.new(network) or return nil }
    rescue IPAddr::Error
      nil
    end

    def port(value) = count(value)

    def seconds(value)
      number = value.is_a?(Numeric) ? value : Integer(value.to_s, 10, exception: false) || Float(value.to_s, exception: false)
      return unless number.is_a?(Integer) || number&.to_f&.finite?

      in_range(number.is_a?(Integer) ? number : number.to_f)
    end

    def secret(value) = value.to_s.then { |string| string.dup.freeze if string.bytesize >= LEAST_SECRET }

    # The URL of a socket is a path, too.
    def socket(value, base)
      value = value.to_s
      value == "default" ? :default : File.expand_path(value.delete_prefix("unix://"), base).freeze
    end

    # Puma's users write a range, such as 0:5, or 5:5. The number of threads does not change, so the most counts.
    def threads(value) = count(value.is_a?(String) ? value.sub(/\A\d+:(?=\d+\z)/, "") : value)

    # May be empty.
    def title(value) = value.to_s.dup.freeze

    def workers(value) = value.to_s.downcase == "auto" ? [Processors.count, @most].min : count(value)

    def text(value) = value.to_s.then { |string| string.dup.freeze unless string.empty? }

    # The core takes numbers as Floats.
    def in_range(number) = (number if number >= @least && number <= (@most || Float::MAX))

    def human(number)
      return number.to_s unless type == :bytes && number.positive?

      unit, size = { "GiB" => 1 << 30, "MiB" => 1 << 20, "KiB" => 1 << 10 }.find { |_, bytes| (number % bytes).zero? }
      unit ? "#{number / size} #{unit}" : number.to_s
    end

    # The bounds, in words.
    def range
      return unless NUMBERS.include?(type)

      @most ? ", from #{human(@least)} to #{human(@most)}" : ", #{human(@least)} or more"
    end

    def wanted
      words = case type
              when :choice then [choices[..-2].join(", "), choices.last].join(" or ")
              when :directory then "a folder that exists"
              else "#{TYPES.fetch(type).last}#{range}"
              end
      OFF.key?(type) && off? ? "#{words}, or off" : words
    end
  end
end
