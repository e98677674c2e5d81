variable "region" {
  description = "Name of the fleet's region, as in `fleet region create`, e.g. `eu`. Not the name that AWS has for it."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,14}$", var.region)) && !can(regex("^[a-z]{2}-[a-z]+-[0-9]$", var.region))
    error_message = "A fleet's region has 1 to 15 small letters, digits and dashes, such as eu; it is not called like one of AWS."
  }
}

variable "vpc_id" {
  description = "The region's network."
  type        = string
}

variable "database_cidrs" {
  description = "Zone to addresses for databases; `database_cidrs` of the network module."
  type        = map(string)
  validation {
    condition     = length(var.database_cidrs) >= 2 && alltrue([for block in values(var.database_cidrs) : can(cidrhost(block, 0))])
    error_message = "Give IPv4 blocks in two zones at least: servers have a standby."
  }
}

variable "client_security_groups" {
  description = "Who may connect to databases: a name for people to the id of a security group."
  type        = map(string)
}

variable "client_networks" {
  description = "Who else may connect: a name to the IPv4 block of a peer, such as the control plane's network."
  type        = map(string)
  default     = {}
}

variable "servers" {
  description = "Servers to make at once, by the name that the fleet knows them by. With `tenant`, one for that tenant alone."
  type = map(object({
    instance_class = optional(string, "db.r7g.large")
    storage_gib    = optional(number, 100)
    standby        = optional(bool, true)
    tenant         = optional(string)
  }))
  default = {}
  validation {
    condition     = alltrue([for name in keys(var.servers) : can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", name))])
    error_message = "A server's name has small letters, digits and single dashes, such as eu-1."
  }
}

variable "tags" {
  description = "Tags beside the provider's default tags."
  type        = map(string)
  default     = {}
}
