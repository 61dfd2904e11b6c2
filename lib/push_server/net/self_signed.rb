# frozen_string_literal: true

require "digest"
require "fileutils"
require "socket"
require_relative "certificates"

module PushServer
  # A certificate for development that this server makes, in the user's cache folder. Browsers warn of it until the user tells
  # them to trust it; it is used until shortly before it expires. One thread at a time.
  class SelfSigned < Certificates
    DAY = 24 * 3600
    # Days for which it is valid. Some clients accept no longer ones.
    DAYS = 397
    # Days before its end on which another one is made.
    LEFT = 30
    NAMES = %w[localhost *.localhost].freeze
    ADDRESSES = %w[127.0.0.1 ::1].freeze
    ANY = ["*", "0.0.0.0", "::"].freeze
    private_constant :DAY, :DAYS, :LEFT, :NAMES, :ADDRESSES, :ANY

    # @return [Array<String>] the names and addresses that it is for
    attr_reader :names

    # @param host [String] on which the server listens
    # @param options [Hash] as for {Certificates#initialize}
    # @param env [#[]] the environment variables
    def initialize(host, env: ENV, **options)
      @names = [*NAMES, Socket.gethostname, *(host unless ANY.include?(host)), *ADDRESSES].uniq
      @folder = File.join(SelfSigned.cache_folder(env), "push_server")
      super([[path("crt"), path("key")]], **options)
    end

    # @return [String] the user's folder for what can be made again
    def self.cache_folder(env = ENV)
      given = env["XDG_CACHE_HOME"].to_s
      given.start_with?("/") ? given : File.join(Dir.home, ".cache")
    rescue ArgumentError
      raise Error, "there is no folder for the certificate: set HOME or XDG_CACHE_HOME"
    end

    # As {Certificates#load}. Makes the certificate if there is none that can be used.
    def load
      return self if content

      make unless usable?
      PushServer.log(:info, "the self-signed certificate #{path("crt")} is for #{names.join(", ")}")
      super
    rescue SystemCallError => e
      raise Error, "cannot make a certificate in #{@folder}: #{e.message.sub(/ @ .*/, "")}"
    end

    private

    # Other names make another certificate.
    def path(suffix) = File.join(@folder, "self_signed_#{Digest::SHA256.hexdigest(names.join(" "))[0, 12]}.#{suffix}")

    def usable?
      require "openssl"
      certificate = OpenSSL::X509::Certificate.new(File.binread(path("crt")))
      key = OpenSSL::PKey.read(File.binread(path("key")))
      certificate.not_after > Time.now + (LEFT * DAY) && certificate.check_private_key(key)
    rescue SystemCallError, OpenSSL::OpenSSLError
      false
    end

    # Others that start at the same moment see no half of it: each file is written under another name, and then renamed.
    def make
      key = OpenSSL::PKey::EC.generate("prime256v1")
      FileUtils.mkdir_p(@folder, mode: 0o700)
      { "key" => key.to_pem, "crt" => certificate(key).to_pem }.each do |suffix, text|
        draft = "#{path(suffix)}.#{Process.pid}"
        File.open(draft, File::WRONLY | File::CREAT | File::TRUNC, 0o600) { |file| file.write(text) }
        File.rename(draft, path(suffix))
      end
    end

    def certificate(key)
      certificate = OpenSSL::X509::Certificate.new
      certificate.version = 2
      certificate.serial = OpenSSL::BN.rand(120)
      certificate.subject = certificate.issuer = OpenSSL::X509::Name.new([["O", "push_server"], %w[CN localhost]])
      certificate.public_key = key
      certificate.not_before = Time.now - DAY
      certificate.not_after = Time.now + (DAYS * DAY)
      extend_with_names(certificate)
      certificate.sign(key, OpenSSL::Digest.new("SHA256"))
    end

    def extend_with_names(certificate)
      factory = OpenSSL::X509::ExtensionFactory.new(certificate, certificate)
      alternatives = names.map { |name| name.match?(/\A[\d.]+\z|:/) ? "IP:#{name}" : "DNS:#{name}" }
      { "basicConstraints" => ["CA:FALSE", true], "keyUsage" => ["digitalSignature", true],
        "extendedKeyUsage" => ["serverAuth", false], "subjectAltName" => [alternatives.join(","), false],
        "subjectKeyIdentifier" => ["hash", false] }.each do |name, (value, critical)|
        certificate.add_extension(factory.create_extension(name, value, critical))
      end
    end
  end
end
